import { DiskferryError } from '../bytes/errors.ts'
import { formatSize, isPowerOfTwo, parseSize } from '../bytes/units.ts'

/**
 * Options of a writer, as data: what the command line parses, `formats` lists and the library's types are made from.
 */
export type OptionTable = Readonly<Record<string, OptionSpec>>
export type OptionSpec = ChoiceOption | SizeOption | TextOption | NumberOption

interface Described {
  readonly help: string
}
export interface ChoiceOption<V extends string = string> extends Described {
  readonly type: 'choice'
  readonly values: readonly V[]
  readonly default: V
}
/** A power of two of bytes within limits. */
export interface SizeOption extends Described {
  readonly type: 'size'
  readonly min: number
  readonly max: number
  readonly default: number
}
export interface NumberOption extends Described {
  readonly type: 'number'
  readonly min: number
  readonly max: number
  readonly default: number
}
/** Text of a given form; without a default it may be left out. */
export interface TextOption extends Described {
  readonly type: 'text'
  readonly pattern: RegExp
  readonly form: string
}

type ValueOf<O> = O extends { type: 'choice'; values: readonly (infer V)[] }
  ? V
  : O extends { type: 'text' }
    ? string | undefined
    : number
export type OptionValues<T extends OptionTable> = { readonly [K in keyof T]: ValueOf<T[K]> }

/** Options as a caller gives them: any of them, as text or as the value itself. */
export type OptionInput = Readonly<Record<string, string | number | undefined>>

/**
 * Checks a caller's options against a table and fills in the defaults.
 * @throws DiskferryError `usage`, naming the option and what it takes
 */
export function readOptions<T extends OptionTable>(table: T, input: OptionInput, format: string): OptionValues<T> {
  for (const key of Object.keys(input)) {
    if (!Object.hasOwn(table, key)) throw unknownOption(key, Object.keys(table), format)
  }
  const values = Object.entries(table).map(([key, spec]) => [key, readOption(key, spec, input[key])])
  return Object.fromEntries(values)
}

function readOption(key: string, spec: OptionSpec, given: string | number | undefined): unknown {
  if (given === undefined) return spec.type === 'text' ? undefined : spec.default
  const value = parseOption(spec, given)
  if (value !== undefined) return value
  throw new DiskferryError('usage', `option ${key} is ${JSON.stringify(given)}: it takes ${describeOption(spec)}`, {
    found: String(given),
    expected: describeOption(spec),
  })
}

function parseOption(spec: OptionSpec, given: string | number): string | number | undefined {
  if (spec.type === 'choice') return spec.values.find((value) => value === String(given))
  if (spec.type === 'text') return spec.pattern.test(String(given)) ? String(given) : undefined
  const value = typeof given === 'number' ? given : spec.type === 'size' ? parseSize(given) : Number(given)
  if (value === undefined || !Number.isSafeInteger(value) || value < spec.min || value > spec.max) return undefined
  return spec.type === 'size' && !isPowerOfTwo(value) ? undefined : value
}

/** What an option takes, for people. */
export function describeOption(spec: OptionSpec): string {
  switch (spec.type) {
    case 'choice':
      return spec.values.join(' or ')
    case 'text':
      return spec.form
    case 'size':
      return `a power of two from ${formatSize(spec.min)} to ${formatSize(spec.max)}`
    case 'number':
      return `a whole number from ${spec.min} to ${spec.max}`
  }
}

function unknownOption(key: string, known: readonly string[], format: string): DiskferryError {
  const expected = known.length === 0 ? 'no options' : known.join(', ')
  return new DiskferryError('usage', `${format} has no option ${key}: it has ${expected}`, { found: key, expected })
}
