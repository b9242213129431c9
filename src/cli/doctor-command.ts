import { performance } from 'node:perf_hooks'
import type { Command } from 'commander'
import { crc32c } from '../bytes/crc32c.ts'
import { formatSize, MiB } from '../bytes/units.ts'
import { hasNativeZstd } from '../bytes/zstd.ts'
import { clientFromEnvironment, crc32cBackend, DiskferryError } from '../index.ts'
import { findsHoles } from '../io/file-holes.ts'
import { tryStore } from '../io/s3/capabilities.ts'
import { defaultThreads } from '../pipeline/workers.ts'
import { ExitCode } from './exit-codes.ts'
import { printJson, printResult } from './output.ts'

const EXAMPLES = `
Examples:
  diskferry doctor
  AWS_ENDPOINT_URL_S3=https://s3.example.org diskferry doctor s3://exports/nightly/`

export function addDoctorCommand(program: Command): void {
  program
    .command('doctor')
    .summary('say what this machine, and a store, are good for')
    .description(
      'Looks at what conversions depend on: Node.js, checksums, threads, zstd, holes in files. With s3://bucket, tries out an upload there: a ' +
        'few bytes are written, and removed.',
    )
    .argument('[store]', 's3://bucket, or s3://bucket/prefix')
    .option('--json', 'print one JSON array')
    .addHelpText('after', EXAMPLES)
    .action(runDoctor)
}

/** One thing that was looked at. */
interface Finding {
  readonly name: string
  readonly ok: boolean
  readonly found: string
  /** What to do where it is not as it could be. */
  readonly remedy?: string
}

async function runDoctor(store: string | undefined, { json }: { json?: boolean }): Promise<void> {
  const findings = [
    nodeVersion(),
    checksums(),
    threads(),
    zstd(),
    await holes(),
    ...(store === undefined ? [] : await storeAt(store)),
  ]
  if (json) printJson(findings)
  else for (const finding of findings) print(finding)
  if (findings.some(({ name, ok }) => name === 'Node.js' && !ok)) process.exitCode = ExitCode.failure
}

function print({ name, ok, found, remedy }: Finding): void {
  printResult(`${ok ? 'ok  ' : 'poor'}  ${name.padEnd(18)} ${found}`)
  if (!ok && remedy !== undefined) printResult(`      ${' '.repeat(18)} ${remedy}`)
}

/** As package.json has it under `engines`. */
const LEAST_NODE = [20, 19] as const

function nodeVersion(): Finding {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  const ok = major > LEAST_NODE[0] || (major === LEAST_NODE[0] && minor >= LEAST_NODE[1])
  return { name: 'Node.js', ok, found: process.version, remedy: `install Node.js ${LEAST_NODE.join('.')} or newer` }
}

function checksums(): Finding {
  const speed = `${formatSize(Math.round(crcBytesPerSecond()))}/s`
  return {
    name: 'CRC-32C',
    ok: !crc32cBackend.includes('JavaScript'),
    found: `${crc32cBackend}, ${speed} on one thread`,
    remedy: 'install with a compiler at hand, or with optional dependencies (@node-rs/crc32): it is far faster',
  }
}

const ROUNDS = 3

/** The best of some rounds: the first ones warm up. */
function crcBytesPerSecond(): number {
  const bytes = Buffer.alloc(16 * MiB, 1)
  const seconds = Array.from({ length: ROUNDS }, () => {
    const started = performance.now()
    crc32c(bytes)
    return (performance.now() - started) / 1000
  })
  return bytes.length / Math.min(...seconds)
}

function threads(): Finding {
  const count = defaultThreads()
  return { name: 'threads', ok: count > 1, found: String(count), remedy: 'with one core, conversions are not parallel' }
}

function zstd(): Finding {
  const found = hasNativeZstd() ? "Node's own" : 'WebAssembly'
  return {
    name: 'zstd',
    ok: hasNativeZstd(),
    found,
    remedy: 'Node.js 22.15 and newer have it built in, which is faster',
  }
}

async function holes(): Promise<Finding> {
  const ok = await findsHoles()
  const remedy = 'npm install koffi, on Linux: sparse raw disks and fixed VHDs are read without their holes then'
  return { name: 'holes in files', ok, found: ok ? 'found' : 'read as zeros', remedy }
}

async function storeAt(address: string): Promise<Finding[]> {
  const [, bucket, prefix = ''] = /^s3:\/\/([^/]+)(?:\/(.*))?$/.exec(address) ?? []
  if (bucket === undefined) {
    throw new DiskferryError('usage', `${address} is no store`, { found: address, expected: 's3://bucket' })
  }
  const client = await clientFromEnvironment()
  try {
    const found = await tryStore(client, bucket, prefix)
    return [
      { name: 'store', ok: true, found: `takes uploads to ${bucket}` },
      able('part checksums', found.verifiesChecksums, 'damage between here and the store would not be seen there'),
      able('checksums listed', found.listsChecksums, 'parts of an interrupted upload can only be told by their ETags'),
      able('If-None-Match', found.writesConditionally, 'an object that is there already may be replaced'),
    ]
  } finally {
    client.destroy()
  }
}

function able(name: string, ok: boolean, remedy: string): Finding {
  return { name, ok, found: ok ? 'yes' : 'no', remedy }
}
