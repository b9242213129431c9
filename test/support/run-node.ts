import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

/** The repository's own folder. */
export const root = fileURLToPath(new URL('../../', import.meta.url))

export interface NodeResult {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: Buffer
  readonly stderr: string
  /** The most memory that the process had, bytes. */
  readonly maxRss: number
}

export interface NodeOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  /** Called whenever the process says something on stderr, with all that it said so far. */
  readonly onStderr?: (text: string, kill: (signal: NodeJS.Signals) => void) => void
  readonly timeoutMs?: number
}

/**
 * Every process says at its end how much memory it had, on a descriptor of its own. Not by `resourceUsage`: that counts
 * in what the process which started it had.
 */
const REPORT = `data:text/javascript,${encodeURIComponent(`
  import { isMainThread } from 'node:worker_threads'
  import { readFileSync, writeSync } from 'node:fs'
  const peak = () => /VmHWM:\\s*(\\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))[1]
  if (isMainThread) process.on('exit', () => writeSync(3, peak()))
`)}`

/** Runs Node, without any AWS settings of the machine's own. */
export async function runNode(args: readonly string[], options: NodeOptions = {}): Promise<NodeResult> {
  const { env = {}, cwd = root, onStderr, timeoutMs = 60_000 } = options
  const child = spawn(process.execPath, ['--import', REPORT, ...args], {
    cwd,
    env: { ...withoutAws(process.env), ...env },
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    timeout: timeoutMs,
  })
  const stdout: Buffer[] = []
  let stderr = ''
  let report = ''
  child.stdout?.on('data', (bytes: Buffer) => stdout.push(bytes))
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
    onStderr?.(stderr, (signal) => child.kill(signal))
  })
  child.stdio[3]?.on('data', (bytes: Buffer) => {
    report += bytes.toString()
  })
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null]
  return { code, signal, stdout: Buffer.concat(stdout), stderr, maxRss: Number(report) * 1024 }
}

function withoutAws(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const kept = Object.entries(environment).filter(([name]) => !name.startsWith('AWS_'))
  return { ...Object.fromEntries(kept), AWS_EC2_METADATA_DISABLED: 'true', NODE_OPTIONS: '' }
}

/** Runs the command line as it was built. */
export function runCli(args: readonly string[], options?: NodeOptions): Promise<NodeResult> {
  return runNode(['dist/cli/main.js', ...args], options)
}
