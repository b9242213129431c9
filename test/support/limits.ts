import { type FormatName, memorySource, type OpenOptions, type Source } from '../../src/index.ts'

/** A field that leads to an allocation, a loop, a seek or a decompression, and the most that it may say. */
export interface Limit {
  readonly format: FormatName
  readonly field: string
  readonly most: string
  /** Whose limit it is: that of the format's specification, of the program that all others follow, or ours. */
  readonly origin: Origin
  /** Why there is one, where the specification does not say so. */
  readonly reason: string
  /** An image that keeps to the limit, and one that is just past it. */
  readonly inside: Source
  readonly outside: Source
  readonly refusal: 'malformed' | 'too-large' | 'truncated'
  /** What the message says of the field. */
  readonly says: RegExp
  readonly options?: OpenOptions
  /** How the image that keeps to the limit is refused after all, later. Without it, that image opens. */
  readonly later?: string
}

type Origin = 'specification' | 'QEMU' | 'ours'
type Named =
  | readonly [field: string, most: string, origin: 'specification']
  | readonly [field: string, most: string, origin: 'QEMU' | 'ours', reason: string]
type Images = readonly [inside: Source | Buffer, outside: Source | Buffer]

/** Rows of the table, for one format. */
export function limitsOf(format: FormatName) {
  return (
    [field, most, origin, reason = '']: Named,
    [inside, outside]: Images,
    [refusal, says]: readonly [refusal: Limit['refusal'], says: RegExp],
    more: Pick<Limit, 'options' | 'later'> = {},
  ): Limit => ({
    format,
    ...{ field, most, origin, reason, refusal, says, ...more },
    ...{ inside: sourceOf(inside), outside: sourceOf(outside) },
  })
}

const sourceOf = (image: Source | Buffer): Source => (Buffer.isBuffer(image) ? memorySource(image) : image)

/** The table as a document. */
export function limitsDocument(limits: readonly Limit[]): string {
  const row = ({ format, field, most, origin, reason, refusal }: Limit) =>
    `| ${format} | ${field} | ${most} | ${origin} | ${reason} | \`${refusal}\` |`
  return [
    '# Limits',
    '',
    'Fields of an image that lead to an allocation, a loop, a seek or a decompression, and the most that they may say. An',
    'image that goes beyond is refused with the error in the last column. `test/bounds.test.ts` tries each on both sides of',
    'its limit, and writes this table (`npx vitest run test/bounds.test.ts -u`). Whose limit it is: that of the',
    "format's specification, that of QEMU, or ours, with the reason. What a reader may cost in all: a file of at most 1 MiB",
    'is opened in 100 ms of processor time and 64 MiB of memory; a packed unit is unpacked no further than its own size; a',
    'chain of images has at most 32.',
    '',
    '| format | field | at most | whose | why | else |',
    '|---|---|---|---|---|---|',
    ...limits.map(row),
    '',
  ].join('\n')
}
