import type { Command } from 'commander'
import { type FormatName, type ImageInput, type Verification, verifyImages } from '../index.ts'
import { ExitCode } from './exit-codes.ts'
import { printJson, printResult } from './output.ts'
import { backingFolder, openPlace, SOURCE_HELP } from './places.ts'
import { poolOptions } from './pool-options.ts'

interface VerifyFlags {
  from?: string
  to?: string
  allowBacking?: string
  allowPadding?: boolean
  threads?: string
  json?: boolean
}

const NOTES = `
Ends with 0 when they are equal, with ${ExitCode.different} when they are not.

Example:
  diskferry verify disk.qcow2 s3://exports/disk.vhd --json`

export function addVerifyCommand(program: Command): void {
  program
    .command('verify')
    .summary('compare two images as the guest sees them')
    .description('Compares the disks in <first> and <second>, of any formats and in any places.')
    .argument('<first>', SOURCE_HELP)
    .argument('<second>', 'the same')
    .option('--from <format>', 'format of the first image; believed, where otherwise it is probed')
    .option('--to <format>', 'format of the second image')
    .option('--allow-backing <folder>', 'let the images open their backing files and data files from this folder')
    .option('--allow-padding', 'one disk may be longer, where it goes on with zeros')
    .option('--threads <n>', 'worker threads; 0 for none (default: one for each core)')
    .option('--json', 'print one JSON object')
    .addHelpText('after', NOTES)
    .action(runVerify)
}

async function runVerify(first: string, second: string, flags: VerifyFlags): Promise<void> {
  const opened = [await openPlace(first)]
  try {
    opened.push(await openPlace(second))
    const [one, other] = opened.map(({ source }, index) => inputOf(source, flags, index)) as [ImageInput, ImageInput]
    const { allowPadding } = flags
    const found = await verifyImages(one, other, { ...poolOptions(flags.threads), allowPadding })
    if (flags.json) printJson(found)
    else printResult(describe(found))
    if (!found.equal) process.exitCode = ExitCode.different
  } finally {
    for (const place of opened) await place.close()
  }
}

function inputOf(source: ImageInput['source'], { from, to, allowBacking }: VerifyFlags, index: number): ImageInput {
  return { source, from: (index === 0 ? from : to) as FormatName | undefined, backing: backingFolder(allowBacking) }
}

function describe({ equal, differsAt, reason, virtualSizes }: Verification): string {
  if (equal) return 'equal'
  if (reason === 'size') return `different: disks of ${virtualSizes.join(' and ')} bytes, equal up to byte ${differsAt}`
  return `different from byte ${differsAt} on`
}
