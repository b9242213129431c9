import { join } from 'node:path'
import { root } from './run-node.ts'
import { runTool, type ToolResult } from './tools.ts'

export interface Fault {
  /** A system call of Linux, with what it shall answer: an error's name, or `retval=0`. */
  readonly call: string
  readonly answer: string
  /** From which call on, of each thread: the first is 1. */
  readonly from: number
  /** Only calls that have to do with this path. */
  readonly path?: string
}

/**
 * Runs the command line with a fault that the operating system reports, as a dying disk or a full one would: strace
 * answers in the kernel's place. The program can't tell the difference.
 */
export function runWithFault({ call, answer, from, path }: Fault, args: readonly string[]): Promise<ToolResult> {
  const fault = /=/.test(answer) ? answer : `error=${answer}`
  const only = path === undefined ? [] : ['-P', path]
  const strace = ['-f', '-qq', '-o', '/dev/null', ...only, '-e', `trace=${call}`, '-e', 'signal=none']
  const program = [process.execPath, join(root, 'dist/cli/main.js'), ...args]
  return runTool('strace', [...strace, '-e', `inject=${call}:${fault}:when=${from}+`, ...program], {
    answers: [0, 1, 2, 3, 4, 5, 130],
    timeoutMs: 100_000,
  })
}
