import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { root } from './run-node.ts'
import { runTool } from './tools.ts'

export interface Traced {
  /** Paths that were opened, and addresses that were asked, since the marker was read. */
  readonly opened: readonly string[]
  readonly asked: readonly string[]
  readonly images: number
  /** How often each end was seen: an error's code, or `done`. */
  readonly counts: Readonly<Record<string, number>>
}

const CALLS = 'open,openat,openat2,creat,connect,sendto,execve'

/** Writes each image into a folder of its own and has them all inspected and converted, in a process that is watched. */
export async function traceImages(
  folder: string,
  images: readonly { readonly name: string; readonly bytes: Buffer }[],
  allowed = '',
): Promise<Traced> {
  const [set, log, marker] = [join(folder, 'set'), join(folder, 'trace'), join(folder, 'marker')]
  for (const [index, { name, bytes }] of images.entries()) {
    const own = join(set, String(index))
    await mkdir(own, { recursive: true })
    await writeFile(join(own, name), bytes)
  }
  await writeFile(marker, '')
  const program = [join(root, 'test/support/traced-child.mjs'), join(root, 'dist/index.js'), set, marker, allowed]
  const strace = ['-f', '--seccomp-bpf', '-qq', '-s', '4096', '-e', `trace=${CALLS}`, '-e', 'signal=none', '-o', log]
  const { stdout } = await runTool('strace', [...strace, process.execPath, ...program], { timeoutMs: 300_000 })
  const calls = (await readFile(log, 'utf8')).split('\n')
  const from = calls.findIndex((line) => / open\w*\(/.test(line) && line.includes(`"${marker}"`))
  if (from < 0) throw new Error(`${log} does not show that the marker was read`)
  const since = calls.slice(from + 1)
  return {
    opened: since.flatMap(
      (line) => /(?:open|openat|openat2|creat|execve)\([^"]*"((?:[^"\\]|\\.)*)"/.exec(line)?.[1] ?? [],
    ),
    asked: since.filter((line) => /\b(?:connect|sendto)\(/.test(line)),
    ...(JSON.parse(stdout) as { images: number; counts: Record<string, number> }),
  }
}
