import { DiskferryError } from '../bytes/errors.ts'

/** What a run of guest bytes is. */
export const Kind = {
  /** Never written: nothing is stored and there is no parent. Reads as zeros. */
  hole: 0,
  /** Stated to be zero by the image. Reads as zeros, and hides a parent. */
  zero: 1,
  /** Stored as it is, at a host offset. */
  stored: 2,
  /** One packed unit, or a run of it: stored at a host offset in `packed` bytes, to be unpacked by one of the image's codecs. */
  packed: 3,
  /** To be looked up in the parent image. */
  parent: 4,
} as const
export type Kind = (typeof Kind)[keyof typeof Kind]

/**
 * Extents cross threads and come by the million, so they are rows of numbers, not objects: row `i` begins at
 * `rows[i * EXTENT_WIDTH]`.
 */
export const EXTENT_WIDTH = 7
/** Columns of an extent row. */
export const Extent = {
  /** Guest offset of the first byte. */
  guest: 0,
  /** Guest bytes. */
  length: 1,
  /** A `Kind`. */
  kind: 2,
  /** Offset in the source of the first byte, for `stored` and `packed`; otherwise 0. */
  host: 3,
  /** Bytes in the source, at most, for `packed`; otherwise 0. */
  packed: 4,
  /** For `packed`: which of the image's codecs unpacks it; otherwise 0. */
  codec: 5,
  /** For `packed`: bytes of the unpacked unit that come before the extent's first; otherwise 0. */
  skip: 6,
} as const

/** Rows as one batch: complete rows, valid until the next batch is asked for. */
export type ExtentRows = Float64Array

/** An extent as an object, for people and for tests. */
export interface ExtentInfo {
  guest: number
  length: number
  kind: keyof typeof Kind
  host?: number
  packed?: number
}

const KIND_NAMES = Object.keys(Kind) as (keyof typeof Kind)[]

export function describeExtents(rows: ExtentRows): ExtentInfo[] {
  const described: ExtentInfo[] = []
  for (let row = 0; row < rows.length; row += EXTENT_WIDTH) {
    const [guest = 0, length = 0, kind = 0, host = 0, packed = 0] = rows.subarray(row, row + EXTENT_WIDTH)
    const name = KIND_NAMES[kind] as keyof typeof Kind
    described.push({ guest, length, kind: name, ...(host > 0 && { host }), ...(packed > 0 && { packed }) })
  }
  return described
}

/**
 * Collects extents in ascending guest order, from `start` to `end`, and joins neighbours that are one run both in the
 * guest and in the host. Each extent handed in must begin where the one before ended; what lies outside the range is
 * clipped.
 */
export class ExtentCollector {
  #rows = new Float64Array(1024 * EXTENT_WIDTH)
  #used = 0
  readonly #start: number
  readonly #end: number

  constructor(start: number, end: number) {
    this.#start = start
    this.#end = end
  }

  get count(): number {
    return this.#used / EXTENT_WIDTH
  }

  add(guest: number, length: number, kind: Kind, host = 0, packed = 0, codec = 0, skip = 0): void {
    const from = Math.max(guest, this.#start)
    const to = Math.min(guest + length, this.#end)
    if (to <= from) return
    if (kind === Kind.packed) {
      this.#append(from, to - from, kind, host, packed, codec, skip + (from - guest))
      return
    }
    const hostFrom = kind === Kind.stored ? host + (from - guest) : 0
    if (!this.#extendLast(from, to - from, kind, hostFrom)) this.#append(from, to - from, kind, hostFrom, 0, 0, 0)
  }

  #extendLast(guest: number, length: number, kind: Kind, host: number): boolean {
    const last = this.#used - EXTENT_WIDTH
    const rows = this.#rows
    if (last < 0 || rows[last + Extent.kind] !== kind) return false
    const lastLength = rows[last + Extent.length] as number
    if ((rows[last + Extent.guest] as number) + lastLength !== guest) return false
    if (kind === Kind.stored && (rows[last + Extent.host] as number) + lastLength !== host) return false
    rows[last + Extent.length] = lastLength + length
    return true
  }

  #append(guest: number, length: number, kind: Kind, host: number, packed: number, codec: number, skip: number): void {
    if (this.#used === this.#rows.length) this.#grow()
    const row = this.#used
    this.#rows[row + Extent.guest] = guest
    this.#rows[row + Extent.length] = length
    this.#rows[row + Extent.kind] = kind
    this.#rows[row + Extent.host] = host
    this.#rows[row + Extent.packed] = packed
    this.#rows[row + Extent.codec] = codec
    this.#rows[row + Extent.skip] = skip
    this.#used += EXTENT_WIDTH
  }

  #grow(): void {
    const larger = new Float64Array(this.#rows.length * 2)
    larger.set(this.#rows)
    this.#rows = larger
  }

  /** The rows collected so far; collecting begins anew. The memory is used again: copy what is to be kept. */
  take(): ExtentRows {
    const rows = this.#rows.subarray(0, this.#used)
    this.#used = 0
    return rows
  }
}

/** Holds a reader to its contract: extents that leave a gap or overlap would lose guest bytes without a word. */
export async function* checkedExtents(
  extents: AsyncIterable<ExtentRows>,
  start: number,
  end: number,
): AsyncGenerator<ExtentRows> {
  let expected = start
  for await (const rows of extents) {
    for (let row = 0; row < rows.length; row += EXTENT_WIDTH) {
      const guest = rows[row + Extent.guest] as number
      if (guest !== expected) throw gap(guest, expected)
      expected = guest + (rows[row + Extent.length] as number)
    }
    yield rows
  }
  if (expected !== end) throw gap(end, expected)
}

function gap(found: number, expected: number): DiskferryError {
  const detail = { found, expected, offset: expected }
  return new DiskferryError('plan-violated', `extents do not join: found ${found} after ${expected}`, detail)
}
