import type { Command } from 'commander'
import { digestImage, type FormatName } from '../index.ts'
import { printJson, printResult } from './output.ts'
import { backingFolder, openPlace, SOURCE_HELP } from './places.ts'
import { poolOptions } from './pool-options.ts'

interface DigestFlags {
  from?: string
  allowBacking?: string
  snapshot?: string
  threads?: string
  json?: boolean
}

export function addDigestCommand(program: Command): void {
  program
    .command('digest')
    .summary('reckon the digest of what the guest sees')
    .description('Prints a digest of the disk in <source> that is the same whatever format and place it is kept in.')
    .argument('<source>', SOURCE_HELP)
    .option('--from <format>', 'format of the source; believed, where otherwise it is probed')
    .option('--allow-backing <folder>', 'let the image open its backing files and data file from this folder')
    .option('--snapshot <name>', 'read this internal snapshot (id or name) instead of the active disk')
    .option('--threads <n>', 'worker threads; 0 for none (default: one for each core)')
    .option('--json', 'print one JSON object')
    .addHelpText('after', '\nExample:\n  diskferry digest s3://exports/centos7.vhd')
    .action(runDigest)
}

async function runDigest(source: string, flags: DigestFlags): Promise<void> {
  const place = await openPlace(source)
  try {
    const from = flags.from as FormatName | undefined
    const input = { source: place.source, from, backing: backingFolder(flags.allowBacking), snapshot: flags.snapshot }
    const found = await digestImage(input, poolOptions(flags.threads))
    if (flags.json) printJson(found)
    else printResult(found.digest)
  } finally {
    await place.close()
  }
}
