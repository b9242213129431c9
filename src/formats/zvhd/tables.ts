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
  readonly #index: Buffer
  #entries = 0

  constructor(fields: ZvhdHeader, blocks: UnitMap, compression: number) {
    const storedBlocks = blocks.count()
    const indexSegments = Math.ceil(storedBlocks / BLOCKS_PER_SEGMENT)
    const bitmapSegments = Math.ceil(blocks.length / BLOCKS_PER_SEGMENT)
    this.#blocks = blocks
    this.#index = Buffer.alloc(indexSegments * INDEX_SEGMENT_SIZE)
    this.#fields = {
      ...fields,
      zvhd2Version: ZVHD2_VERSION,
      blockSize: BLOCK_SIZE,
      blocks: blocks.length,
      indexOffset: 0,
      bitmapOffset: 0,
      indexSize: indexSegments * INDEX_SEGMENT_SIZE,
      bitmapSize: bitmapSegments * BITMAP_SEGMENT_SIZE,
      indexSegmentSize: INDEX_SEGMENT_SIZE,
      bitmapSegmentSize: BITMAP_SEGMENT_SIZE,
      indexSegments,
      bitmapSegments,
      storedBlocks,
      indexHoldsZeroBlocks: 0,
      compression,
    }
  }

  get endSizeAtMost(): number {
    return 2 * HEADER_SIZE + this.#fields.indexSize + this.#fields.bitmapSize
  }

  /** In front nothing is known of what follows; the vendor's driver leaves these fields zero. */
  begin(): Buffer {
    return encode({ ...this.#fields, ...UNKNOWN, storedBlocks: 0 })
  }

  add(block: number, offset: number, recordSize: number): void {
    this.#index.set(indexEntry.encode({ offset, block, recordSize }), this.#entries * indexEntry.size)
    this.#entries += 1
  }

  end(end: number): Buffer {
    const indexOffset = end + HEADER_SIZE
    const bitmapOffset = indexOffset + this.#index.length
    const bitmap = Buffer.alloc(this.#fields.bitmapSize)
    bitmap.set(this.#blocks.bits)
    const footer = encode({ ...this.#fields, indexOffset, bitmapOffset })
    return Buffer.concat([encode({ ...this.#fields, ...UNKNOWN }), this.#index, bitmap, footer])
  }
}

function encode(fields: Zvhd2Header): Buffer {
  const bytes = zvhd2Header.encode(fields)
  bytes.writeUInt32LE(checksum(bytes), zvhd2Header.offsetOf('checksum'))
  return bytes
}
