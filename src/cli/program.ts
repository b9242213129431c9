import { readFileSync } from 'node:fs'
import { Command } from 'commander'
import { addCompletionCommand } from './completion-command.ts'
import { addConvertCommand } from './convert-command.ts'
import { addDigestCommand } from './digest-command.ts'
import { addDoctorCommand } from './doctor-command.ts'
import { EXIT_CODES } from './exit-codes.ts'
import { addFormatsCommand } from './formats-command.ts'
import { addInspectCommand } from './inspect-command.ts'
import { addMapCommand } from './map-command.ts'
import { addServeCommand } from './serve-command.ts'
import { addUploadsCommand } from './uploads-command.ts'
import { addVerifyCommand } from './verify-command.ts'
import { addWorkerCommand } from './worker-command.ts'

const EXAMPLES = `
Examples:
  diskferry inspect disk.vmdk
  diskferry convert disk.qcow2 s3://exports/disk.vhd --to vhd
  diskferry doctor s3://exports

Exit codes:
${EXIT_CODES.map(([code, meaning]) => `  ${String(code).padStart(3)}  ${meaning}`).join('\n')}`

/** The whole grammar. Help, completion and the manual page are made from it. */
export function createProgram(): Command {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string
  }
  const program = new Command('diskferry')
    .description('Converts virtual-machine disk images while they stream, into files, pipes and object storage.')
    .version(version)
    .addHelpText('after', EXAMPLES)
    .exitOverride()
  addInspectCommand(program)
  addMapCommand(program)
  addConvertCommand(program)
  addDigestCommand(program)
  addVerifyCommand(program)
  addUploadsCommand(program)
  addFormatsCommand(program)
  addDoctorCommand(program)
  addServeCommand(program)
  addWorkerCommand(program)
  addCompletionCommand(program)
  for (const command of program.commands) command.exitOverride()
  return program
}
