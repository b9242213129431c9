import { DiskferryError } from '../bytes/errors.ts'

/** Gathers an option of the command line that may be repeated. */
export function collect(value: string, before: string[] = []): string[] {
  return [...before, value]
}

/** `key=value`, or several with commas between, as `-o` takes them. */
export function parseOptions(given: readonly string[] = []): Record<string, string> {
  return Object.fromEntries(given.flatMap((list) => list.split(',')).map(parseOption))
}

function parseOption(text: string): [string, string] {
  const equals = text.indexOf('=')
  if (equals > 0) return [text.slice(0, equals), text.slice(equals + 1)]
  throw new DiskferryError('usage', `-o ${text} is no option`, { found: text, expected: 'key=value' })
}
