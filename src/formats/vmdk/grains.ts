import { malformed, truncated } from '../../bytes/errors.ts'
import { asBuffer } from '../../bytes/struct.ts'
import { readExactly } from '../../io/source.ts'
import { type ExtentCollector, type ExtentRows, Kind } from '../extents.ts'
import { type Entries, NOT_STORED, ZERO } from './entries.ts'
import { PackedPlaces } from './packed-grains.ts'
import type { SparseExtent } from './sparse-extent.ts'

/** Extents that make a batch: enough to hide what a batch costs, few enough to stay in the cache. */
const BATCH = 1024
/** Entries of the grain directory read at once, and tables where they lie one behind the other. */
const DIRECTORY_BATCH = 8192
const TABLES_AT_ONCE = 32

/** Where a sparse extent lies on the disk, and in what the image reads from. */
export interface GrainPlace {
  /** Guest offset of the extent's first byte, and of its end. */
  readonly guest: number
  readonly end: number
  /** Offset of the extent's file in the image's source. */
  readonly base: number
  readonly unallocated: Kind
  /** Codec of its grains, and of its last one. */
  readonly codec: number
  readonly lastCodec: number
}

/** Walks grain directory and grain tables in guest order. A few tables are in memory at a time. */
export class GrainWalk {
  readonly #extent: SparseExtent
  readonly #place: GrainPlace
  /** Guest bytes that one grain table covers. */
  readonly #span: number
  readonly #tableSize: number
  #tableBytes = 0

  constructor(extent: SparseExtent, place: GrainPlace) {
    this.#extent = extent
    this.#place = place
    this.#span = extent.grainSize * extent.gtesPerGt
    this.#tableSize = extent.gtesPerGt * extent.entries.size
  }

  /** Adds the extents of guest bytes `start` to `end`. Gives them whenever they make a batch; the rest stays. */
  async *extents(into: ExtentCollector, start: number, end: number): AsyncGenerator<ExtentRows> {
    const { guest } = this.#place
    const { source, entries, directory } = this.#extent
    const last = Math.ceil((Math.min(end, this.#place.end) - guest) / this.#span)
    let first = Math.floor((Math.max(start, guest) - guest) / this.#span)
    for (; first < last; first += DIRECTORY_BATCH) {
      const count = Math.min(DIRECTORY_BATCH, last - first)
      const offset = directory + first * entries.size
      const batch = asBuffer(await readExactly(source, offset, count * entries.size))
      const tables = decodeEach(batch, entries.size, offset, entries.table)
      for (let i = 0; i < count; ) {
        i += await this.#addTables(into, tables, i, first, start, end)
        if (into.count >= BATCH) yield into.take()
      }
    }
  }

  /** Adds the table at `i`, and those that follow it at once in the file. Gives how many they were. */
  async #addTables(
    into: ExtentCollector,
    tables: Float64Array,
    i: number,
    first: number,
    start: number,
    end: number,
  ): Promise<number> {
    const offset = tables[i] as number
    if (offset === NOT_STORED || offset === ZERO) {
      const from = this.#place.guest + (first + i) * this.#span
      const kind = offset === ZERO ? Kind.zero : this.#place.unallocated
      into.add(from, Math.min(this.#span, this.#place.end - from), kind)
      return 1
    }
    let count = 1
    while (count < TABLES_AT_ONCE && tables[i + count] === offset + count * this.#tableSize) count++
    const bytes = await this.#readTables(first + i, offset, count)
    for (let k = 0; k < count; k++) {
      const table = bytes.subarray(k * this.#tableSize, (k + 1) * this.#tableSize)
      this.#addTable(into, table, first + i + k, offset + k * this.#tableSize, start, end)
    }
    return count
  }

  /** The disk's last table may be cut to the entries that it needs. */
  async #readTables(index: number, offset: number, count: number): Promise<Buffer> {
    const { source, capacity, grainSize, gtesPerGt, entries, title } = this.#extent
    const grains = Math.min(count * gtesPerGt, Math.ceil(capacity / grainSize) - index * gtesPerGt)
    const length = grains * entries.size
    const entryOffset = this.#extent.directory + index * entries.size
    if (offset + length > source.size) {
      throw truncated(`${title} grain table ${index} ends at ${offset + length}`, {
        found: source.size,
        expected: offset + length,
        offset: entryOffset,
      })
    }
    this.#tableBytes += length
    if (this.#tableBytes > source.size) {
      const expected = 'tables that do not overlap'
      throw malformed(`${title} grain tables`, {
        found: 'more of them than the file holds',
        expected,
        offset: entryOffset,
      })
    }
    return asBuffer(await readExactly(source, offset, length))
  }

  /** Adds the table's entries that touch guest bytes `start` to `end`. */
  #addTable(into: ExtentCollector, table: Buffer, index: number, offset: number, start: number, end: number): void {
    const { grainSize, entries, packing, directory, source } = this.#extent
    const { guest, unallocated } = this.#place
    const base = guest + index * this.#span
    const grains = decodeEach(table, entries.size, offset, entries.grain)
    const first = Math.max(0, Math.floor((start - base) / grainSize))
    const last = Math.min(grains.length, Math.ceil((Math.min(end, this.#place.end) - base) / grainSize))
    const packed = packing && new PackedPlaces(grains, [directory, offset], source.size, packing.markerSize, grainSize)
    for (let i = first; i < last; i++) {
      const from = base + i * grainSize
      const length = Math.min(grainSize, this.#place.end - from)
      const grain = grains[i] as number
      if (grain === NOT_STORED) into.add(from, length, unallocated)
      else if (grain === ZERO) into.add(from, length, Kind.zero)
      else if (packed) this.#addPacked(into, from, length, grain, packed, offset + i * entries.size)
      else this.#addStored(into, from, length, grain, offset + i * entries.size)
    }
  }

  #addStored(into: ExtentCollector, from: number, length: number, grain: number, entryOffset: number): void {
    const { source, title } = this.#extent
    if (grain + length > source.size) {
      const expected = grain + length
      throw truncated(`${title} grain ends at ${expected}`, { found: source.size, expected, offset: entryOffset })
    }
    into.add(from, length, Kind.stored, this.#place.base + grain)
  }

  #addPacked(
    into: ExtentCollector,
    from: number,
    length: number,
    grain: number,
    places: PackedPlaces,
    entryOffset: number,
  ): void {
    const { source, title, capacity, grainSize } = this.#extent
    const { host, packed } = places.of(grain)
    if (packed <= 0) {
      const expected = `below the file's ${source.size} bytes`
      throw truncated(`${title} grain offset`, { found: grain, expected, offset: entryOffset })
    }
    const isLast = from - this.#place.guest + grainSize > capacity
    const codec = isLast ? this.#place.lastCodec : this.#place.codec
    into.add(from, length, Kind.packed, this.#place.base + host, packed, codec)
  }
}

/** All entries of a table that lies at `offset`. */
function decodeEach(table: Buffer, size: number, offset: number, decode: Entries['grain']): Float64Array {
  const decoded = new Float64Array(table.length / size)
  for (let i = 0; i < decoded.length; i++) decoded[i] = decode(table, i * size, offset + i * size)
  return decoded
}
