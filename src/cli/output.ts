import { toPlainError } from '../bytes/errors.ts'
import { DiskferryError } from '../index.ts'

/** Results go to standard output; whatever is for people only goes to standard error, so that pipes stay clean. */
export function printResult(text: string): void {
  process.stdout.write(`${text}\n`)
}

export function printNote(text: string): void {
  process.stderr.write(`${text}\n`)
}

export function printJson(value: unknown): void {
  printResult(JSON.stringify(value, null, 2))
}

/** Names come from images, and images from strangers: nothing of them may steer the terminal. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, (character) => {
    const code = character.codePointAt(0) ?? 0
    return `\\u{${code.toString(16)}}`
  })
}

export function printError(error: unknown, json: boolean): void {
  if (json) printJson({ error: describeError(error) })
  const { message, hint } = describeError(error)
  printNote(`diskferry: ${printable(message)}`)
  if (hint !== undefined) printNote(`  ${printable(hint)}`)
}

function describeError(error: unknown): { code: string; message: string; hint?: string } {
  if (error instanceof DiskferryError) return toPlainError(error)
  return { code: 'unexpected', message: error instanceof Error ? error.message : String(error) }
}
