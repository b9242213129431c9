import { CommanderError } from 'commander'
import { takeWorkers } from './early-workers.ts'
import { ExitCode, exitCodeOf } from './exit-codes.ts'
import { printError, printJson, watchOutput } from './output.ts'
import { createProgram } from './program.ts'

/** Does what the command line says. Sets the exit code; never throws. */
export async function run(argv: readonly string[]): Promise<void> {
  // Which Node the SDK's future versions want is no business of whoever converts an image.
  process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= 'true'
  watchOutput()
  try {
    await createProgram().parseAsync(argv)
  } catch (error) {
    const json = argv.includes('--json')
    // Whether "-" is source or target is not known then: where the image may be meant to go, nothing else does.
    if (error instanceof CommanderError) return endUsage(error, json && !argv.includes('-'))
    printError(error, json)
    process.exitCode ??= exitCodeOf(error)
  } finally {
    await takeWorkers()?.close()
  }
}

/** What was wrong has been printed, for people. Help that was asked for is no error. */
function endUsage({ exitCode, message }: CommanderError, json: boolean): void {
  process.exitCode = exitCode === 0 ? ExitCode.ok : ExitCode.usage
  if (json && exitCode !== 0) printJson({ error: { code: 'usage', message } })
}
