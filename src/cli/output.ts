import { type PlainError, toPlainError } from '../bytes/errors.ts'
import { DiskferryError } from '../index.ts'
import { targetFailed } from '../io/target-error.ts'
import { ExitCode } from './exit-codes.ts'

/** Results go to standard output; whatever is for people only goes to standard error, so that pipes stay clean. */
export function printResult(text: string): void {
  process.stdout.write(`${text}\n`)
}

let isReserved = false

/** The image itself goes to standard output: nothing else may. */
export function reserveOutput(): void {
  isReserved = true
}

export function printNote(text: string): void {
  process.stderr.write(`${text}\n`)
}

export function printJson(value: unknown): void {
  printResult(JSON.stringify(value, null, 2))
}

/** Someone who has seen enough (`head`) closes the pipe: no failure. Any other error of the streams is one, once. */
export function watchOutput(): void {
  const failed = (cause: NodeJS.ErrnoException) => {
    if (cause.code === 'EPIPE') return
    process.exitCode = ExitCode.target
    printError(targetFailed('standard output', cause), false)
  }
  process.stdout.once('error', failed).on('error', () => undefined)
  process.stderr.on('error', () => undefined)
}

/** Names come from images, and images from strangers: nothing of them may steer the terminal. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, (character) => {
    const code = character.codePointAt(0) ?? 0
    return `\\u{${code.toString(16)}}`
  })
}

export function printError(error: unknown, json: boolean): void {
  if (json && !isReserved) printJson({ error: describeError(error) })
  const { message, expected, hint } = describeError(error)
  printNote(`diskferry: ${printable(message)}`)
  if (expected !== undefined && !message.includes(String(expected)))
    printNote(`  expected: ${printable(String(expected))}`)
  if (hint !== undefined) printNote(`  ${printable(hint)}`)
}

function describeError(error: unknown): Omit<PlainError, 'code'> & { code: string } {
  if (error instanceof DiskferryError) return toPlainError(error)
  return { code: 'unexpected', message: error instanceof Error ? error.message : String(error) }
}
