import { malformed, truncated } from '../../bytes/errors.ts'
import { asBuffer } from '../../bytes/struct.ts'
import { readExactly, type Source } from '../../io/source.ts'
import { ExtentCollector, type ExtentRows, Kind } from '../extents.ts'
import type { Metadata } from './metadata.ts'
import type { Place } from './regions.ts'
import { BAT_ENTRY_SIZE, BlockState, blockOffset, blockState, REGION_ALIGNMENT, SECTORS_PER_CHUNK } from './spec.ts'

/** Blocks whose entries are read at once. */
const BAT_BATCH = 8 * 1024

/** 2.5 "BAT": where each payload block lies. */
export class BlockTable {
  readonly #source: Source
  readonly #offset: number
  readonly #metadata: Metadata
  /** Payload blocks in a chunk: after so many entries comes one for a sector bitmap. */
  readonly #chunkRatio: number

  /** @throws DiskferryError when the region or the file is too short for the disk. Nothing of the table is read. */
  constructor(source: Source, region: Place, metadata: Metadata) {
    this.#source = source
    this.#offset = region.offset
    this.#metadata = metadata
    this.#chunkRatio = (SECTORS_PER_CHUNK * metadata.logicalSectorSize) / metadata.blockSize
    const blocks = Math.ceil(metadata.virtualSize / metadata.blockSize)
    const needed = blocks === 0 ? 0 : (this.#indexOf(blocks - 1) + 1) * BAT_ENTRY_SIZE
    if (needed > region.length) {
      const expected = `at least ${needed} bytes for ${blocks} blocks`
      throw malformed('VHDX BAT region', { found: region.length, expected, offset: region.offset })
    }
    if (region.offset + needed > source.size) {
      const expected = region.offset + needed
      throw truncated('VHDX BAT', { found: source.size, expected, offset: region.offset })
    }
  }

  #indexOf(block: number): number {
    return block + Math.floor(block / this.#chunkRatio)
  }

  async *extents(start: number, end: number): AsyncGenerator<ExtentRows> {
    const { blockSize, virtualSize } = this.#metadata
    const extents = new ExtentCollector(start, end)
    const last = Math.ceil(end / blockSize)
    for (let block = Math.floor(start / blockSize); block < last; ) {
      const stop = Math.min(block + BAT_BATCH, last)
      const base = this.#indexOf(block)
      const offset = this.#offset + base * BAT_ENTRY_SIZE
      const length = (this.#indexOf(stop - 1) + 1 - base) * BAT_ENTRY_SIZE
      const entries = asBuffer(await readExactly(this.#source, offset, length))
      for (; block < stop; block++) {
        const at = (this.#indexOf(block) - base) * BAT_ENTRY_SIZE
        const guest = block * blockSize
        const guestLength = Math.min(blockSize, virtualSize - guest)
        this.#add(extents, guest, guestLength, entries.readUInt32LE(at + 4), entries.readUInt32LE(at), offset + at)
      }
      yield extents.take()
    }
  }

  /** Blocks that hold nothing of worth read as zeros: one that was unmapped may, and does so everywhere. */
  #add(extents: ExtentCollector, guest: number, length: number, high: number, low: number, entryOffset: number): void {
    switch (blockState(low)) {
      case BlockState.notPresent:
      case BlockState.undefined:
        extents.add(guest, length, Kind.hole)
        return
      case BlockState.zero:
      case BlockState.unmapped:
      case BlockState.unmappedOld:
        extents.add(guest, length, Kind.zero)
        return
      case BlockState.fullyPresent:
        extents.add(guest, length, Kind.stored, this.#hostOf(blockOffset(high, low), length, entryOffset))
        return
    }
    throw malformed('VHDX block state', { found: blockState(low), expected: '0 to 3, 5 or 6', offset: entryOffset })
  }

  #hostOf(host: number, length: number, entryOffset: number): number {
    if (host < REGION_ALIGNMENT) {
      const expected = `at least ${REGION_ALIGNMENT}`
      throw malformed('VHDX block offset', { found: host, expected, offset: entryOffset })
    }
    if (host + length <= this.#source.size) return host
    const expected = host + length
    throw truncated(`VHDX block ends at ${expected}`, { found: this.#source.size, expected, offset: entryOffset })
  }
}
