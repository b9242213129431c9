import { type ExecFileException, execFile } from 'node:child_process'

/** Debian's package of each tool that the tests take as an oracle. */
const PACKAGES: Readonly<Record<string, string>> = {
  'qemu-img': 'qemu-utils',
  'qemu-io': 'qemu-utils',
  vhdiinfo: 'libvhdi-utils',
  qcowinfo: 'libqcow-utils',
  '7z': 'p7zip-full',
  sfdisk: 'fdisk',
  xmllint: 'libxml2-utils',
  blkid: 'util-linux',
  man: 'man-db',
  nbdkit: 'nbdkit',
  nbdcopy: 'libnbd-bin',
  strace: 'strace',
}

export interface ToolResult {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

export interface ToolOptions {
  /** The folder to run in. */
  readonly cwd?: string
  /** Exit codes that are an answer, not a failure. Default: only 0. */
  readonly answers?: readonly number[]
  readonly timeoutMs?: number
}

/** Runs a tool and gives what it said. A tool that is missing, or that fails, fails the test with the whole command. */
export function runTool(tool: string, args: readonly string[], options: ToolOptions = {}): Promise<ToolResult> {
  const { answers = [0], timeoutMs = 60_000, cwd } = options
  return new Promise((resolve, reject) => {
    execFile(tool, args, { cwd, maxBuffer: 64 * 1024 * 1024, timeout: timeoutMs }, (error, stdout, stderr) => {
      const code = error === null ? 0 : error.code
      if (typeof code === 'number' && answers.includes(code)) resolve({ code, stdout, stderr })
      else reject(failure(tool, args, error, stdout, stderr))
    })
  })
}

function failure(
  tool: string,
  args: readonly string[],
  error: ExecFileException | null,
  stdout: string,
  stderr: string,
): Error {
  const code: unknown = error?.code
  if (code === 'ENOENT') return new Error(`${tool} is not installed: apt-get install ${PACKAGES[tool] ?? tool}`)
  const end = error?.killed ? 'was killed: it took too long' : `ended with ${code ?? error?.signal ?? 'code 0'}`
  return new Error(`${[tool, ...args].join(' ')}\n${end}\n${stdout}${stderr}`.trimEnd())
}
