import type { Command } from 'commander'
import { formatSize } from '../bytes/units.ts'
import {
  type ConvertResult,
  clientFromEnvironment,
  convert,
  DiskferryError,
  type FormatName,
  fileTarget,
  folderCompanions,
  formats,
  isS3Address,
  parseS3Address,
  s3Target,
  stdoutTarget,
  type Target,
  type WriterOptions,
} from '../index.ts'
import { ExitCode } from './exit-codes.ts'
import { printable, printJson, printNote } from './output.ts'
import { progressView } from './progress-view.ts'

interface ConvertFlags {
  allowBacking?: string
  snapshot?: string
  to: string
  from?: string
  option?: string[]
  threads?: string
  keepZeros?: boolean
  sync?: boolean
  json?: boolean
  quiet?: boolean
}

const EXAMPLES = `
Examples:
  diskferry convert centos7.qcow2 s3://exports/centos7.vhd --to vhd
  diskferry convert disk.vhd disk.qcow2 --to qcow2 -o cluster_size=128K
  diskferry convert disk.qcow2 azure.vhd --to vhd -o subformat=fixed -o align=1M
  diskferry convert disk.qcow2 - --to raw | sha256sum

S3 comes from the usual AWS environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_PROFILE, AWS_REGION, and
AWS_ENDPOINT_URL_S3 for a store other than AWS.`

export function addConvertCommand(program: Command): void {
  program
    .command('convert')
    .summary('convert an image into a file, a pipe or object storage')
    .description('Converts <source> into <target>: a path, "-" for standard output, or s3://bucket/key.')
    .argument('<source>', 'path of the image')
    .argument('<target>', 'path, "-", or s3://bucket/key')
    .requiredOption('--to <format>', `format to write: ${writableNames()}`)
    .option('--from <format>', 'format of the source; believed, where otherwise it is probed')
    .option(
      '-o, --option <key=value>',
      'option of the target format (see: diskferry formats); may be repeated',
      collect,
    )
    .option('--allow-backing <folder>', 'let the image open its backing files and data file from this folder')
    .option('--snapshot <name>', 'read this internal snapshot (id or name) instead of the active disk')
    .option('--threads <n>', 'worker threads; 0 for none (default: one for each core)')
    .option('--keep-zeros', 'keep what the source stores, even where it holds only zeros')
    .option('--sync', 'wait until a file is on the disk before it gets its name')
    .option('--json', 'print the result as one JSON object')
    .option('-q, --quiet', 'no progress')
    .addHelpText('after', EXAMPLES)
    .action(runConvert)
}

function writableNames(): string {
  return formats.flatMap(({ name, writer }) => (writer ? [name] : [])).join(', ')
}

function collect(value: string, before: string[] = []): string[] {
  return [...before, value]
}

async function runConvert(source: string, place: string, flags: ConvertFlags): Promise<void> {
  const target = await targetOf(place, flags)
  const abort = new AbortController()
  const interrupt = interrupter(abort)
  process.on('SIGINT', interrupt).on('SIGTERM', interrupt)
  const view = progressView(flags.quiet ?? false)
  try {
    const result = await convert({
      source,
      from: flags.from as FormatName | undefined,
      backing: flags.allowBacking === undefined ? undefined : folderCompanions(flags.allowBacking),
      snapshot: flags.snapshot,
      to: flags.to as keyof WriterOptions,
      options: parseOptions(flags.option),
      target,
      threads: parseThreads(flags.threads),
      keepZeros: flags.keepZeros,
      signal: abort.signal,
      onProgress: view.listener,
    })
    view.stop()
    report(result, flags, place === '-')
  } catch (error) {
    if (abort.signal.aborted) process.exitCode = ExitCode.interrupted
    throw error
  } finally {
    view.stop()
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

async function targetOf(place: string, { sync = false }: ConvertFlags): Promise<Target> {
  if (place === '-') return stdoutTarget()
  if (!isS3Address(place)) return fileTarget(place, { sync })
  return s3Target({ client: await clientFromEnvironment(), ...parseS3Address(place) })
}

function parseThreads(text: string | undefined): number | undefined {
  if (text === undefined || /^\d+$/.test(text)) return text === undefined ? undefined : Number(text)
  throw new DiskferryError('usage', `--threads ${text} is no whole number`, { found: text, expected: '0 or more' })
}

function parseOptions(given: readonly string[] = []): Record<string, string> {
  return Object.fromEntries(given.flatMap((list) => list.split(',')).map(parseOption))
}

function parseOption(text: string): [string, string] {
  const equals = text.indexOf('=')
  if (equals > 0) return [text.slice(0, equals), text.slice(equals + 1)]
  throw new DiskferryError('usage', `-o ${text} is no option`, { found: text, expected: 'key=value' })
}

/** When the image itself goes to standard output, nothing else may. */
function report(result: ConvertResult, { json, quiet }: ConvertFlags, toStdout: boolean): void {
  for (const warning of result.warnings) printNote(`warning: ${printable(warning)}`)
  if (json && !toStdout) printJson(result)
  if (json || quiet) return
  const { location, format, variant, virtualSize, bytesWritten, crc32c, seconds, parts } = result
  const inParts = parts === undefined ? '' : ` in ${parts} parts`
  printNote(`${printable(location)}: ${format} ${variant}, a disk of ${formatSize(virtualSize)}`)
  printNote(`  ${formatSize(bytesWritten)}${inParts}, CRC32C ${crc32c}, ${seconds.toFixed(2)} s`)
}
