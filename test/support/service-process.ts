import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { afterAll } from 'vitest'
import { root } from './run-node.ts'

/** A line of a service's log. */
export interface LogLine {
  readonly msg: string
  readonly address?: string
  readonly job?: string
  readonly attempt?: number
}

export interface ServiceProcess {
  readonly child: ChildProcess
  readonly log: LogLine[]
  readonly address: string
  /** Resolves with the code and signal that it ended with. */
  terminate(): Promise<[code: number | null, signal: string | null]>
}

/** Starts `diskferry serve` or `worker`, as it was built; those that a file has started end with its tests. */
export function serviceProcesses() {
  const children: ChildProcess[] = []
  afterAll(() => {
    for (const child of children) child.kill('SIGKILL')
  })
  return async (args: readonly string[], environment: Record<string, string>): Promise<ServiceProcess> => {
    const child = spawn(process.execPath, ['dist/cli/main.js', ...args], {
      cwd: root,
      env: { ...process.env, ...environment, NODE_OPTIONS: '' },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    children.push(child)
    const log: LogLine[] = []
    const address = await new Promise<string>((resolve, reject) => {
      child.once('exit', (code) => reject(new Error(`diskferry ${args[0]} ended with ${code}`)))
      createInterface({ input: child.stdout }).on('line', (text) => {
        const line = JSON.parse(text) as LogLine
        log.push(line)
        if (line.msg === 'listening' || line.msg === 'taking jobs') resolve(line.address as string)
      })
    })
    const terminate = () =>
      new Promise<[number | null, string | null]>((resolve) => {
        child.once('close', (code, signal) => resolve([code, signal]))
        child.kill('SIGTERM')
      })
    return { child, log, address, terminate }
  }
}
