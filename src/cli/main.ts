#!/usr/bin/env node
import { readFileSync } from 'node:fs'
import { Command, CommanderError } from 'commander'
import { addConvertCommand } from './convert-command.ts'
import { ExitCode, exitCodeOf } from './exit-codes.ts'
import { addFormatsCommand } from './formats-command.ts'
import { addInspectCommand } from './inspect-command.ts'
import { printError } from './output.ts'

const EXIT_CODES = `
Exit codes:
  0 done   2 wrong usage   3 the image can't or must not be converted   4 the image is damaged or unreadable
  5 the target can't be written   130 interrupted   1 anything else`

function createProgram(): Command {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string
  }
  const program = new Command('diskferry')
    .description('Converts virtual-machine disk images while they stream, into files, pipes and object storage.')
    .version(version)
    .addHelpText('after', EXIT_CODES)
    .exitOverride()
  addInspectCommand(program)
  addConvertCommand(program)
  addFormatsCommand(program)
  for (const command of program.commands) command.exitOverride()
  return program
}

async function main(argv: readonly string[]): Promise<void> {
  try {
    await createProgram().parseAsync(argv)
  } catch (error) {
    if (error instanceof CommanderError) {
      process.exitCode = error.exitCode === 0 ? ExitCode.ok : ExitCode.usage
      return
    }
    printError(error, argv.includes('--json'))
    process.exitCode ??= exitCodeOf(error)
  }
}

await main(process.argv)
