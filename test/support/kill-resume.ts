import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { root } from './run-node.ts'

/** What one run of the command came to. */
export interface RunOutcome {
  readonly killed: boolean
  readonly code: number | null
  readonly result: { resumedBytes?: number; bytesWritten?: number } | undefined
  readonly stderr: string
  readonly ms: number
}

/** Runs `diskferry convert` in a process of its own, and kills it (SIGKILL) after `killAfterMs`. */
export async function runKilled(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  killAfterMs?: number,
): Promise<RunOutcome> {
  const started = Date.now()
  const child = spawn(process.execPath, ['dist/cli/main.js', 'convert', ...args, '--resume', '--json', '-q'], {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const timer = killAfterMs === undefined ? undefined : setTimeout(() => child.kill('SIGKILL'), killAfterMs)
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null]
  clearTimeout(timer)
  const result = code === 0 ? (JSON.parse(stdout) as RunOutcome['result']) : undefined
  return { killed: signal === 'SIGKILL', code, result, stderr, ms: Date.now() - started }
}
