import { type DiskferryError, malformed, truncated } from '../../bytes/errors.ts'
import { asBuffer } from '../../bytes/struct.ts'
import { readExactly, type Source } from '../../io/source.ts'
import { ExtentCollector, type ExtentRows, Kind } from '../extents.ts'
import type { Metadata } from './metadata.ts'
import type { Place } from './regions.ts'
import {
  BAT_ENTRY_SIZE,
  BITMAP_BLOCK_SIZE,
  BITMAP_PRESENT,
  BlockState,
  blockOffset,
  blockState,
  REGION_ALIGNMENT,
  SECTORS_PER_CHUNK,
} from './spec.ts'

/** Blocks whose entries are read at once, and extents that make a batch. */
const BAT_BATCH = 8 * 1024
const BATCH = 1024

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
    const needed = blocks === 0 ? 0 : this.#entriesFor(blocks) * BAT_ENTRY_SIZE
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
    return block + this.#chunkOf(block)
  }

  #chunkOf(block: number): number {
    return Math.floor(block / this.#chunkRatio)
  }

  /** Entries of the first `blocks` blocks; with a parent the last chunk's bitmap counts too. */
  #entriesFor(blocks: number): number {
    if (this.#metadata.parent === undefined) return this.#indexOf(blocks - 1) + 1
    return (this.#chunkOf(blocks - 1) + 1) * (this.#chunkRatio + 1)
  }

  async *extents(start: number, end: number): AsyncGenerator<ExtentRows> {
    const { blockSize } = this.#metadata
    const extents = new ExtentCollector(start, end)
    const partial = { bytes: 0 }
    const last = Math.ceil(end / blockSize)
    for (let block = Math.floor(start / blockSize); block < last; ) {
      const stop = Math.min(block + BAT_BATCH, last)
      const window = await this.#readEntries(block, stop)
      for (; block < stop; block++) {
        await this.#addBlock(extents, block, window, partial)
        if (extents.count >= BATCH) yield extents.take()
      }
    }
    if (extents.count > 0) yield extents.take()
  }

  async #readEntries(block: number, stop: number): Promise<EntryWindow> {
    const first = this.#indexOf(block)
    const offset = this.#offset + first * BAT_ENTRY_SIZE
    const length = (this.#entriesFor(stop) - first) * BAT_ENTRY_SIZE
    return new EntryWindow(asBuffer(await readExactly(this.#source, offset, length)), first, offset)
  }

  /**
   * Blocks that hold nothing of worth read as zeros: one that was unmapped may, and does so everywhere. `partial` counts
   * blocks of which single sectors are stored, over the whole walk.
   */
  async #addBlock(
    extents: ExtentCollector,
    block: number,
    window: EntryWindow,
    partial: { bytes: number },
  ): Promise<void> {
    const { blockSize, virtualSize, parent } = this.#metadata
    const guest = block * blockSize
    const length = Math.min(blockSize, virtualSize - guest)
    const { state, host, place } = window.at(this.#indexOf(block))
    switch (state) {
      case BlockState.notPresent:
        extents.add(guest, length, parent === undefined ? Kind.hole : Kind.parent)
        return
      case BlockState.undefined:
      case BlockState.zero:
      case BlockState.unmapped:
      case BlockState.unmappedOld:
        extents.add(guest, length, Kind.zero)
        return
      case BlockState.fullyPresent:
        this.#assertStored(host, length, place)
        extents.add(guest, length, Kind.stored, host)
        return
      case BlockState.partiallyPresent:
        if (parent === undefined) break
        this.#assertStored(host, length, place)
        partial.bytes += length
        if (partial.bytes > this.#source.size) throw overlapping(place)
        this.#addSectors(extents, guest, length, host, await this.#readBitmap(block, window))
        return
    }
    throw malformed('VHDX block state', { found: state, expected: 'one that such a disk has', offset: place })
  }

  /** The bits of one block, from its chunk's sector bitmap. */
  async #readBitmap(block: number, window: EntryWindow): Promise<Uint8Array> {
    const { state, host, place } = window.at((this.#chunkOf(block) + 1) * (this.#chunkRatio + 1) - 1)
    if (state !== BITMAP_PRESENT) {
      throw malformed('VHDX sector bitmap state', { found: state, expected: BITMAP_PRESENT, offset: place })
    }
    this.#assertStored(host, BITMAP_BLOCK_SIZE, place)
    const length = BITMAP_BLOCK_SIZE / this.#chunkRatio
    return readExactly(this.#source, host + (block % this.#chunkRatio) * length, length)
  }

  #addSectors(extents: ExtentCollector, guest: number, length: number, host: number, bitmap: Uint8Array): void {
    const { logicalSectorSize } = this.#metadata
    for (let at = 0; at < length; at += logicalSectorSize) {
      const sector = at / logicalSectorSize
      const isStored = ((bitmap[sector >>> 3] as number) & (1 << (sector & 7))) !== 0
      if (isStored) extents.add(guest + at, logicalSectorSize, Kind.stored, host + at)
      else extents.add(guest + at, logicalSectorSize, Kind.parent)
    }
  }

  #assertStored(host: number, length: number, place: number): void {
    if (host < REGION_ALIGNMENT) {
      throw malformed('VHDX block offset', { found: host, expected: `at least ${REGION_ALIGNMENT}`, offset: place })
    }
    const expected = host + length
    if (expected <= this.#source.size) return
    throw truncated(`VHDX block ends at ${expected}`, { found: this.#source.size, expected, offset: place })
  }
}

/** Each such block's bitmap is read: where all entries give the same block, there would be no end of it. */
function overlapping(offset: number): DiskferryError {
  const expected = 'blocks that do not overlap'
  return malformed('VHDX blocks', { found: 'more of them than the file holds', expected, offset })
}

/** Some of the table's entries, in memory. */
class EntryWindow {
  readonly #bytes: Buffer
  /** Number of the first entry, and its offset in the file. */
  readonly #first: number
  readonly #offset: number

  constructor(bytes: Buffer, first: number, offset: number) {
    this.#bytes = bytes
    this.#first = first
    this.#offset = offset
  }

  /** The entry's state, the offset that it holds, and its own place in the file. */
  at(index: number): { state: number; host: number; place: number } {
    const at = (index - this.#first) * BAT_ENTRY_SIZE
    const low = this.#bytes.readUInt32LE(at)
    return {
      state: blockState(low),
      host: blockOffset(this.#bytes.readUInt32LE(at + 4), low),
      place: this.#offset + at,
    }
  }
}
