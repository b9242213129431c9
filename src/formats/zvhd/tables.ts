import type { UnitMap } from '../../bytes/unit-map.ts'
import {
  BITMAP_SEGMENT_SIZE,
  BLOCK_SIZE,
  BLOCKS_PER_SEGMENT,
  checksum,
  HEADER_SIZE,
  INDEX_SEGMENT_SIZE,
  indexEntry,
  ZVHD2_VERSION,
  type Zvhd2Header,
  type ZvhdHeader,
  zvhd2Header,
} from './spec.ts'

const UNKNOWN = {
  indexSize: 0,
  bitmapSize: 0,
  indexSegmentSize: 0,
  bitmapSegmentSize: 0,
  indexSegments: 0,
  bitmapSegments: 0,
} as const

/** What stands behind the records of a ZVHD2: a copy of the header, index, bitmap, footer. */
export class Zvhd2Tables {
  readonly #fields: Zvhd2Header
  readonly #blocks: UnitMap
  #index = Buffer.alloc(INDEX_SEGMENT_SIZE)
  #entries = 0

  constructor(fields: ZvhdHeader, blocks: UnitMap, compression: number) {
    const bitmapSegments = Math.ceil(blocks.length / BLOCKS_PER_SEGMENT)
    this.#blocks = blocks
    this.#fields = {
      ...fields,
      zvhd2Version: ZVHD2_VERSION,
      blockSize: BLOCK_SIZE,
      blocks: blocks.length,
      indexOffset: 0,
      bitmapOffset: 0,
      indexSize: 0,
      bitmapSize: bitmapSegments * BITMAP_SEGMENT_SIZE,
      indexSegmentSize: INDEX_SEGMENT_SIZE,
      bitmapSegmentSize: BITMAP_SEGMENT_SIZE,
      indexSegments: 0,
      bitmapSegments,
      storedBlocks: 0,
      indexHoldsZeroBlocks: 0,
      compression,
    }
  }

  get endSizeAtMost(): number {
    const index = Math.ceil(this.#blocks.count() / BLOCKS_PER_SEGMENT) * INDEX_SEGMENT_SIZE
    return 2 * HEADER_SIZE + index + this.#fields.bitmapSize
  }

  /** In front nothing is known of what follows; the vendor's driver leaves these fields zero. */
  begin(): Buffer {
    return encode({ ...this.#fields, ...UNKNOWN })
  }

  add(block: number, offset: number, recordSize: number): void {
    const at = this.#entries * indexEntry.size
    if (at === this.#index.length) this.#index = Buffer.concat([this.#index], 2 * at)
    this.#index.set(indexEntry.encode({ offset, block, recordSize }), at)
    this.#entries += 1
  }

  end(end: number): Buffer {
    const indexSegments = Math.ceil(this.#entries / BLOCKS_PER_SEGMENT)
    const indexSize = indexSegments * INDEX_SEGMENT_SIZE
    const fields = { ...this.#fields, indexSize, indexSegments, storedBlocks: this.#entries }
    const indexOffset = end + HEADER_SIZE
    const bitmapOffset = indexOffset + indexSize
    const bitmap = Buffer.alloc(fields.bitmapSize)
    bitmap.set(this.#blocks.bits)
    const footer = encode({ ...fields, indexOffset, bitmapOffset })
    return Buffer.concat([encode({ ...fields, ...UNKNOWN }), this.#index.subarray(0, indexSize), bitmap, footer])
  }
}

function encode(fields: Zvhd2Header): Buffer {
  const bytes = zvhd2Header.encode(fields)
  bytes.writeUInt32LE(checksum(bytes), zvhd2Header.offsetOf('checksum'))
  return bytes
}
