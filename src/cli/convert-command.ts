import type { Command } from 'commander'
import { formatSize, parseSize } from '../bytes/units.ts'
import {
  type ConvertResult,
  type ConvertSource,
  clientFromEnvironment,
  convert,
  DiskferryError,
  type FormatName,
  fileTarget,
  formats,
  s3Target,
  stdoutTarget,
  type Target,
  type WriterOptions,
} from '../index.ts'
import { ExitCode } from './exit-codes.ts'
import { collect, parseOptions } from './format-options.ts'
import { printable, printJson, printNote, reserveOutput } from './output.ts'
import { backingFolder, type OpenedPlace, objectAt, openConvertPlace, SOURCE_HELP } from './places.ts'
import { conversionPool } from './pool-options.ts'
import { progressView } from './progress-view.ts'
import { parseS3Options, S3_OPTIONS_HELP } from './s3-options.ts'

interface ConvertFlags {
  allowBacking?: string
  snapshot?: string
  to: string
  from?: string
  option?: string[]
  threads?: string
  diskSize?: string
  keepZeros?: boolean
  sync?: boolean
  verify?: boolean
  digest?: boolean
  resume?: boolean
  force?: boolean
  s3?: string[]
  json?: boolean
  quiet?: boolean
}

const EXAMPLES = `
Examples:
  diskferry convert centos7.qcow2 s3://exports/centos7.vhd --to vhd
  diskferry convert disk.vhd disk.qcow2 --to qcow2 -o cluster_size=128K
  diskferry convert disk.qcow2 azure.vhd --to vhd -o subformat=fixed -o align=1M
  diskferry convert disk.qcow2 - --to raw | sha256sum
  diskferry convert s3://images/centos7.qcow2 s3://exports/centos7.vhd --to vhd
  curl -s https://example.com/disk.zvhd | diskferry convert - disk.vhd --to vhd -o subformat=fixed

S3 comes from the usual AWS environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_PROFILE, AWS_REGION, and
AWS_ENDPOINT_URL_S3 for a store other than AWS.`

export function addConvertCommand(program: Command): void {
  program
    .command('convert')
    .summary('convert an image into a file, a pipe or object storage')
    .description(
      'Converts <source> into <target>: a path, "-" for standard output, or s3://bucket/key. ' +
        'bucket:key is an object as well, unless a file has that name; ./bucket:key is a file.',
    )
    .argument('<source>', `${SOURCE_HELP}, or "-" for standard input`)
    .argument('<target>', 'path, "-", s3://bucket/key or bucket:key')
    .requiredOption('--to <format>', `format to write: ${writableNames()}`)
    .option('--from <format>', 'format of the source; believed, where otherwise it is probed')
    .option(
      '-o, --option <key=value>',
      'option of the target format (see: diskferry formats); may be repeated',
      collect,
    )
    .option('--allow-backing <folder>', 'let the image open its backing files and data file from this folder')
    .option('--snapshot <name>', 'read this internal snapshot (id or name) instead of the active disk')
    .option('--disk-size <size>', 'bytes of a raw disk from standard input, for targets that must know before its end')
    .option('--threads <n>', 'worker threads; 0 for none (default: one for each core)')
    .option('--keep-zeros', 'keep what the source stores, even where it holds only zeros')
    .option('--sync', 'wait until a file is on the disk before it gets its name')
    .option('--verify', 'read the target back when it is whole, and compare it with the source')
    .option('--digest', "reckon the digest of the source's disk first; objects keep it as metadata")
    .option('--resume', 'S3: go on with an unfinished upload of this key, and keep what arrived when this one fails')
    .option('--force', 'S3: replace an object that is there already')
    .option('--s3 <key=value>', `S3: ${S3_OPTIONS_HELP}; may be repeated`, collect)
    .option('--json', 'print the result as one JSON object')
    .option('-q, --quiet', 'no progress')
    .addHelpText('after', EXAMPLES)
    .action(runConvert)
}

function writableNames(): string {
  return formats.flatMap(({ name, writer }) => (writer ? [name] : [])).join(', ')
}

async function runConvert(from: string, to: string, flags: ConvertFlags): Promise<void> {
  if (to === '-') reserveOutput()
  const target = await targetOf(to, flags)
  const pool = conversionPool(flags.threads)
  const abort = new AbortController()
  const interrupt = interrupter(abort)
  process.on('SIGINT', interrupt).on('SIGTERM', interrupt)
  const view = await progressView(flags.quiet ?? false)
  let source: OpenedPlace<ConvertSource> | undefined
  try {
    source = await openConvertPlace(from, abort.signal)
    const result = await convert({
      source: source.source,
      diskSize: parseDiskSize(flags.diskSize),
      from: flags.from as FormatName | undefined,
      backing: backingFolder(flags.allowBacking),
      snapshot: flags.snapshot,
      to: flags.to as keyof WriterOptions,
      options: parseOptions(flags.option),
      target,
      pool,
      keepZeros: flags.keepZeros,
      verify: flags.verify,
      digest: flags.digest,
      signal: abort.signal,
      onProgress: view.listener,
    })
    view.stop()
    report(result, flags, to === '-')
  } catch (error) {
    if (abort.signal.aborted) process.exitCode = ExitCode.interrupted
    throw error
  } finally {
    view.stop()
    await source?.close()
    await pool.close()
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt)
  }
}

/** What runs us (npx) may pass on the same Ctrl-C once more: that is not yet someone who wants no cleaning up. */
const REPEATED_MS = 1000

function interrupter(abort: AbortController): () => void {
  let since = 0
  return () => {
    if (abort.signal.aborted && performance.now() - since > REPEATED_MS) process.exit(ExitCode.interrupted)
    if (!abort.signal.aborted) since = performance.now()
    abort.abort(new DiskferryError('target-failed', 'interrupted; nothing half-written is left'))
  }
}

async function targetOf(place: string, { sync = false, resume, force, s3 }: ConvertFlags): Promise<Target> {
  if (place === '-') return stdoutTarget()
  const object = objectAt(place)
  if (object === undefined) return fileTarget(place, { sync })
  const options = parseS3Options(s3)
  const client = await clientFromEnvironment()
  return s3Target({ ...options, client, ...object, resume, overwrite: force })
}

function parseDiskSize(text: string | undefined): number | undefined {
  const size = text === undefined ? undefined : parseSize(text)
  if (text === undefined || size !== undefined) return size
  throw new DiskferryError('usage', `--disk-size ${text} is no size`, { found: text, expected: 'bytes, or 10G' })
}

/** When the image itself goes to standard output, nothing else may. */
function report(result: ConvertResult, { json, quiet }: ConvertFlags, toStdout: boolean): void {
  for (const warning of result.warnings) printNote(`warning: ${printable(warning)}`)
  if (json && !toStdout) printJson(result)
  if (json || quiet) return
  const { location, format, variant, virtualSize, bytesWritten, crc32c, seconds, parts } = result
  const inParts = parts === undefined ? '' : ` in ${parts} parts`
  printNote(`${printable(location)}: ${format} ${variant}, a disk of ${formatSize(virtualSize)}`)
  if (result.digest !== undefined) printNote(`  digest of the disk ${result.digest}`)
  printNote(`  ${formatSize(bytesWritten)}${inParts}, CRC32C ${crc32c}, ${seconds.toFixed(2)} s`)
}
