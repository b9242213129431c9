import { malformed, tooLarge, truncated } from '../../bytes/errors.ts'
import { formatSize, isPowerOfTwo, SECTOR } from '../../bytes/units.ts'
import type { Source } from '../../io/source.ts'
import type { Entries } from './entries.ts'
import { MAX_DISK_SIZE, MAX_GRAIN_SIZE } from './spec.ts'

/** An extent that stores its grains behind a directory and tables, whatever its header looks like. Sizes in bytes. */
export interface SparseExtent {
  /** `VMDK`, `COWD`, `seSparse`: for messages. */
  readonly title: string
  readonly source: Source
  /** Guest bytes that it holds. */
  readonly capacity: number
  readonly grainSize: number
  readonly gtesPerGt: number
  readonly entries: Entries
  /** Offset of the grain directory. */
  readonly directory: number
  /** Given when grains are compressed. */
  readonly packing?: GrainPacking
}

export interface GrainPacking {
  /** Bytes before a grain's zlib stream. */
  readonly markerSize: number
  /** What the last grain unpacks to: less than a grain where its writer packed only what the disk needs. */
  readonly lastUnit: number
}

/** Where a field lies, for messages. */
export interface FieldPlace {
  readonly name: string
  readonly offset: number
}

/** A number of sectors as bytes. Fields have 64 bits: what would not fit a number is no place in any file. */
export function sectorsToBytes(sectors: bigint, { name, offset }: FieldPlace): number {
  const bytes = sectors * BigInt(SECTOR)
  if (bytes <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(bytes)
  throw malformed(name, { found: `${sectors} sectors`, expected: 'at most 2^53 - 1 bytes', offset })
}

export function grainSizeOf(sectors: bigint, place: FieldPlace): number {
  const size = sectorsToBytes(sectors, place)
  const { name, offset } = place
  if (!isPowerOfTwo(size)) {
    throw malformed(name, { found: `${sectors} sectors`, expected: 'a power of two', offset })
  }
  if (size <= MAX_GRAIN_SIZE) return size
  throw tooLarge(name, { found: size, expected: `at most ${formatSize(MAX_GRAIN_SIZE)}`, offset })
}

export function capacityOf(sectors: bigint, place: FieldPlace): number {
  const size = sectorsToBytes(sectors, place)
  if (size <= MAX_DISK_SIZE) return size
  const { name, offset } = place
  throw tooLarge(name, { found: size, expected: `at most ${formatSize(MAX_DISK_SIZE)}`, offset })
}

export function directoryEntries({ capacity, grainSize, gtesPerGt }: Omit<SparseExtent, 'directory'>): number {
  return Math.ceil(capacity / (grainSize * gtesPerGt))
}

/** The directory must lie in the file. Nothing of it is read here. */
export function assertDirectory(extent: SparseExtent, place: FieldPlace): void {
  const { source, directory, entries } = extent
  const end = directory + directoryEntries(extent) * entries.size
  if (directory === 0) {
    throw malformed(place.name, { found: 0, expected: 'the place of the grain directory', offset: place.offset })
  }
  if (end <= source.size) return
  throw truncated(`${extent.title} grain directory ends at ${end}`, {
    found: source.size,
    expected: end,
    offset: place.offset,
  })
}
