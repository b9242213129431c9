import { isDiskferryError } from '../../bytes/errors.ts'
import { unpackExactly } from '../../bytes/unpack.ts'
import { readExactly } from '../../io/source.ts'
import { Extent, ExtentCollector, Kind } from '../extents.ts'
import { GrainWalk } from './grains.ts'
import type { GrainPacking, SparseExtent } from './sparse-extent.ts'

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

/** Tells whether a packed grain gives exactly `unitSize` bytes. */
export function unpacksTo(unitSize: number, packed: Uint8Array, host: number): boolean {
  try {
    unpackExactly({ name: 'zlib', unitSize }, packed, host)
    return true
  } catch (error) {
    if (isDiskferryError(error, 'corrupt-data')) return false
    throw error
  }
}
