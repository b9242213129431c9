import { DiskferryError } from '../../bytes/errors.ts'
import { alignUp, formatSize, GiB, MiB } from '../../bytes/units.ts'

/** Limits of multipart uploads (Amazon S3 User Guide, "Amazon S3 multipart upload limits"). */
export const MIN_PART_SIZE = 5 * MiB
export const MAX_PART_SIZE = 5 * GiB
export const MAX_PARTS = 10_000

/** Larger parts mean fewer requests, and more memory while several are under way. */
const DEFAULT_PART_SIZE = MIN_PART_SIZE
/** Parts under way at once: enough to keep a connection to a distant store busy. */
const DEFAULT_CONCURRENCY = 4
/** What parts under way may hold together: from here on, fewer of them rather than more memory. */
const MEMORY = 32 * MiB

export interface PartPlan {
  /** Bytes in every part but the last; where parts grow, in each of the first ones. */
  readonly partSize: number
  /** Parts under way at once. */
  readonly concurrency: number
  /** After every so many parts, those that follow are larger by one `partSize`. */
  readonly growEvery?: number
}

export interface WantedParts {
  /** Bytes in a part. Default: 5 MiB, more when the object needs it to fit 10,000 parts. */
  partSize?: number | undefined
  /** Parts under way at once. Default 4, fewer when parts are large. */
  concurrency?: number | undefined
  /** All parts but the last have one size, even where only a bound of the object's size is known. */
  equalParts?: boolean | undefined
}

/** Bytes of part `number`, counted from 1, unless it is the last one. */
export function partSizeAt({ partSize, growEvery }: PartPlan, number: number): number {
  return growEvery === undefined ? partSize : partSize * (1 + Math.floor((number - 1) / growEvery))
}

/**
 * Part size and concurrency for an object of `size` bytes. All parts but the last are equal, as some stores want it.
 * @throws DiskferryError `usage` for a part size that the store can't take, `target-unfit` for a size that no parts can hold
 */
export function planParts(size: number, wanted: WantedParts = {}): PartPlan {
  const least = alignUp(Math.ceil(size / MAX_PARTS), MiB)
  if (least > MAX_PART_SIZE) {
    throw new DiskferryError('target-unfit', `an object of ${formatSize(size)} does not fit ${MAX_PARTS} parts`, {
      found: size,
    })
  }
  const partSize = wanted.partSize ?? Math.max(DEFAULT_PART_SIZE, least)
  const smallest = Math.max(MIN_PART_SIZE, Math.ceil(size / MAX_PARTS))
  if (!Number.isSafeInteger(partSize) || partSize < smallest || partSize > MAX_PART_SIZE) {
    const expected = `from ${formatSize(Math.max(MIN_PART_SIZE, least))} to ${formatSize(MAX_PART_SIZE)}`
    throw new DiskferryError('usage', `a part size of ${partSize} bytes does not do: it must be ${expected}`, {
      found: partSize,
      expected,
    })
  }
  const affordable = Math.max(1, Math.floor(MEMORY / partSize))
  const concurrency = wanted.concurrency ?? Math.min(DEFAULT_CONCURRENCY, affordable)
  if (!Number.isSafeInteger(concurrency) || concurrency < 1) {
    const detail = { found: concurrency, expected: 'a whole number, at least 1' }
    throw new DiskferryError('usage', `concurrency is ${concurrency}: it takes ${detail.expected}`, detail)
  }
  return { partSize, concurrency }
}

/**
 * Parts for an object of `bound` bytes at most. They begin small and grow, so that an object that turns out to be far
 * smaller than its bound costs neither large parts nor the memory for them.
 * @throws DiskferryError as `planParts`
 */
export function planGrowingParts(bound: number, wanted: WantedParts = {}): PartPlan {
  const fixed = wanted.equalParts || wanted.partSize !== undefined
  if (fixed || bound <= DEFAULT_PART_SIZE * MAX_PARTS) return planParts(bound, wanted)
  const { concurrency } = planParts(Math.min(bound, DEFAULT_PART_SIZE), { concurrency: wanted.concurrency })
  for (let sizes = 2; sizes <= MAX_PART_SIZE / DEFAULT_PART_SIZE; sizes++) {
    const growEvery = Math.floor(MAX_PARTS / sizes)
    if (capacity(growEvery) >= bound) return { partSize: DEFAULT_PART_SIZE, concurrency, growEvery }
  }
  return planParts(bound, wanted)
}

/** Bytes that all parts together hold. */
function capacity(growEvery: number): number {
  const whole = Math.floor(MAX_PARTS / growEvery)
  const rest = MAX_PARTS - whole * growEvery
  return DEFAULT_PART_SIZE * ((growEvery * whole * (whole + 1)) / 2 + rest * (whole + 1))
}
