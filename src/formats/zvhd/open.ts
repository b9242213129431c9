import type { Source } from '../../io/source.ts'
import { ExtentCollector, Kind } from '../extents.ts'
import type { DiskImage } from '../format.ts'
import { DecodedSource } from './decoded-source.ts'
import { headerDetails, readHeader } from './header.ts'
import { walkRecords } from './records.ts'
import { BLOCK_SIZE, HEADER_SIZE, ZVHD_COOKIE } from './spec.ts'

/** Opens a ZVHD. It has no index: one walk over the record headers finds the blocks. */
export async function open(source: Source): Promise<DiskImage> {
  const { fields } = await readHeader(source, 0, ZVHD_COOKIE)
  await readHeader(source, source.size - HEADER_SIZE, ZVHD_COOKIE)
  const virtualSize = fields.originalSize
  const blocks = Math.ceil(virtualSize / BLOCK_SIZE)
  const records = await walkRecords(source, blocks)
  return {
    format: 'zvhd',
    source: new DecodedSource(source, records),
    virtualSize,
    facts: {
      variant: 'zvhd',
      features: [],
      warnings: [],
      details: { ...headerDetails(fields), blockSize: BLOCK_SIZE, storedBlocks: records.count },
    },
    async *extents(start = 0, end = virtualSize) {
      const extents = new ExtentCollector(start, end)
      let guest = 0
      for (let record = records.find(Math.floor(start / BLOCK_SIZE)); record < records.count; record++) {
        const blockStart = records.block(record) * BLOCK_SIZE
        if (blockStart >= end) break
        extents.add(guest, blockStart - guest, Kind.hole)
        extents.add(blockStart, Math.min(BLOCK_SIZE, virtualSize - blockStart), Kind.stored, record * BLOCK_SIZE)
        guest = blockStart + BLOCK_SIZE
      }
      extents.add(guest, end - guest, Kind.hole)
      yield extents.take()
    },
  }
}
