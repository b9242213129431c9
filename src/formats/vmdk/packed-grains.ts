import { isDiskferryError } from '../../bytes/errors.ts'
import { unpackExactly } from '../../bytes/unpack.ts'
import { readExactly } from '../../io/source.ts'
import { Extent, ExtentCollector, Kind } from '../extents.ts'
import { GrainWalk } from './grains.ts'
import type { GrainPacking, SparseExtent } from './sparse-extent.ts'

/**
 * Bounds for what a packed grain takes. Its marker knows exactly; but asking each would be one small read for each grain. A
 * grain ends at the latest where the next thing in the file begins, and so whatever its table knows of is a bound:
 * other grains, the table itself, the directory, the end of the file. Where grains lie one behind the other, the bounds
 * reach just over the next one's marker, so that all of them are one run of the file.
 */
export class PackedPlaces {
  readonly #places: Float64Array
  readonly #markerSize: number
  readonly #most: number

  /** `grains` are byte offsets; what is not positive is no grain. */
  constructor(grains: Float64Array, others: readonly number[], end: number, markerSize: number, grainSize: number) {
    const stored = grains.filter((grain) => grain > 0)
    this.#places = new Float64Array(stored.length + others.length + 1)
    this.#places.set(stored)
    this.#places.set([...others, end - markerSize], stored.length)
    this.#places.sort()
    this.#markerSize = markerSize
    this.#most = maxPacked(grainSize)
  }

  /** Offset of the grain's zlib stream, and the bytes that it takes at most: none when it lies past the file's end. */
  of(grain: number): { host: number; packed: number } {
    const next = this.#next(grain)
    const packed = next === undefined ? 0 : Math.min(next - grain, this.#most)
    return { host: grain + this.#markerSize, packed }
  }

  /** The first place after `grain`. */
  #next(grain: number): number | undefined {
    let low = 0
    let high = this.#places.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#places[middle] as number) > grain) high = middle
      else low = middle + 1
    }
    return this.#places[low]
  }
}

/** QEMU's limit too: twice a grain holds whatever deflate makes of one, even of noise. */
function maxPacked(grainSize: number): number {
  return 2 * grainSize
}

/**
 * What the last grain unpacks to. A disk need not be a whole number of grains, and then writers differ: VMware's pack a
 * whole grain, QEMU's only what the disk needs. The grain itself is asked.
 */
export async function lastUnitOf(extent: SparseExtent, packing: GrainPacking): Promise<number> {
  const { capacity, grainSize, source } = extent
  const needed = capacity % grainSize
  if (needed === 0) return grainSize
  const place = { guest: 0, end: capacity, base: 0, unallocated: Kind.hole, codec: 0, lastCodec: 0 }
  const collector = new ExtentCollector(capacity - 1, capacity)
  for await (const _ of new GrainWalk({ ...extent, packing }, place).extents(collector, capacity - 1, capacity));
  const row = collector.take()
  if (row[Extent.kind] !== Kind.packed) return grainSize
  const host = row[Extent.host] as number
  const packed = await readExactly(source, host, row[Extent.packed] as number)
  return unpacksTo(needed, packed, host) ? needed : grainSize
}

function unpacksTo(unitSize: number, packed: Uint8Array, host: number): boolean {
  try {
    unpackExactly({ name: 'zlib', unitSize }, packed, host)
    return true
  } catch (error) {
    if (isDiskferryError(error, 'corrupt-data')) return false
    throw error
  }
}
