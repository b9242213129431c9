import { malformed, truncated } from '../../bytes/errors.ts'
import { asBuffer } from '../../bytes/struct.ts'
import { readExactly, type Source } from '../../io/source.ts'
import {
  HEADER_SIZE,
  MAX_PAYLOAD,
  RECORD_COOKIE,
  RECORD_END,
  RECORD_HEADER_SIZE,
  recordHeader,
  recordSize,
  ZLIB_HEADER_SIZE,
} from './spec.ts'

/** Where each record's deflate segment lies, in the order of the file, which is that of the blocks. */
export class RecordTable {
  #blocks = new Uint32Array(256)
  #offsets = new Float64Array(256)
  #sizes = new Uint32Array(256)
  count = 0

  block(record: number): number {
    return this.#blocks[record] as number
  }

  segment(record: number): { offset: number; size: number } {
    return { offset: this.#offsets[record] as number, size: this.#sizes[record] as number }
  }

  /** The first record whose block is at or after `block`. */
  find(block: number): number {
    let low = 0
    let high = this.count
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.block(middle) < block) low = middle + 1
      else high = middle
    }
    return low
  }

  add(block: number, offset: number, size: number): void {
    if (this.count === this.#blocks.length) this.#grow()
    this.#blocks[this.count] = block
    this.#offsets[this.count] = offset
    this.#sizes[this.count] = size
    this.count += 1
  }

  #grow(): void {
    const blocks = new Uint32Array(this.count * 2)
    const offsets = new Float64Array(this.count * 2)
    const sizes = new Uint32Array(this.count * 2)
    blocks.set(this.#blocks)
    offsets.set(this.#offsets)
    sizes.set(this.#sizes)
    this.#blocks = blocks
    this.#offsets = offsets
    this.#sizes = sizes
  }
}

/** Walks the record headers between header and trailer. Reads 48 bytes of each record, and inflates nothing. */
export async function walkRecords(source: Source, blocks: number): Promise<RecordTable> {
  const table = new RecordTable()
  const end = source.size - HEADER_SIZE
  let last = -1
  for (let offset = HEADER_SIZE; offset < end; ) {
    const { payloadSize, block } = await readRecordHeader(source, offset, end)
    assertBlock(block, last, blocks, offset)
    const skipped = last < 0 ? Math.min(ZLIB_HEADER_SIZE, payloadSize) : 0
    table.add(block, offset + RECORD_HEADER_SIZE + skipped, payloadSize - skipped)
    last = block
    offset += recordSize(payloadSize)
  }
  return table
}

/** Records ascend, each block has at most one, and all of them lie in the disk. */
export function assertBlock(block: number, last: number, blocks: number, offset: number): void {
  if (block > last && block < blocks) return
  const expected = `from ${last + 1} to ${blocks - 1}`
  throw malformed('ZVHD block number', { found: block, expected, offset: offset + recordHeader.offsetOf('block') })
}

async function readRecordHeader(source: Source, offset: number, end: number) {
  if (offset + RECORD_HEADER_SIZE > end)
    throw truncated('ZVHD record', { found: end - offset, expected: RECORD_HEADER_SIZE, offset })
  const header = checkRecordHeader(asBuffer(await readExactly(source, offset, RECORD_HEADER_SIZE)), offset)
  const recordEnd = offset + recordSize(header.payloadSize)
  if (recordEnd > end) throw truncated('ZVHD record', { found: end, expected: recordEnd, offset })
  const at = recordEnd - RECORD_END.length
  checkRecordEnd(asBuffer(await readExactly(source, at, RECORD_END.length)), at)
  return header
}

export function checkRecordHeader(bytes: Buffer, offset: number) {
  const header = recordHeader.decode(bytes)
  if (header.cookie !== RECORD_COOKIE) {
    const [found, expected] = [JSON.stringify(header.cookie), JSON.stringify(RECORD_COOKIE)]
    throw malformed('ZVHD record', { found, expected, offset })
  }
  const { payloadSize } = header
  if (payloadSize > 0 && payloadSize <= MAX_PAYLOAD) return header
  const at = offset + recordHeader.offsetOf('payloadSize')
  throw malformed('ZVHD payload size', { found: payloadSize, expected: `from 1 to ${MAX_PAYLOAD}`, offset: at })
}

export function checkRecordEnd(mark: Buffer, offset: number): void {
  const found = mark.toString('latin1')
  if (found === RECORD_END) return
  const expected = JSON.stringify(RECORD_END)
  throw malformed('ZVHD record end', { found: JSON.stringify(found), expected, offset })
}
