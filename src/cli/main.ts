#!/usr/bin/env node
import { readFileSync } from 'node:fs'
import { Command, CommanderError } from 'commander'
import { addConvertCommand } from './convert-command.ts'
import { ExitCode, exitCodeOf } from './exit-codes.ts'
import { addFormatsCommand } from './formats-command.ts'
import { addInspectCommand } from './inspect-command.ts'
import { printError, printJson, watchOutput } from './output.ts'

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
  // Which Node the SDK's future versions want is no business of whoever converts an image.
  process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= 'true'
  watchOutput()
  try {
    await createProgram().parseAsync(argv)
  } catch (error) {
    // Where the image itself goes to standard output, nothing else may.
    const json = argv.includes('--json') && !argv.includes('-')
    if (error instanceof CommanderError) return endUsage(error, json)
    printError(error, json)
    process.exitCode ??= exitCodeOf(error)
  }
}

/** What was wrong has been printed, for people. Help that was asked for is no error. */
function endUsage({ exitCode, message }: CommanderError, json: boolean): void {
  process.exitCode = exitCode === 0 ? ExitCode.ok : ExitCode.usage
  if (json && exitCode !== 0) printJson({ error: { code: 'usage', message } })
}

await main(process.argv)
