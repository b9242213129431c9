import { execFileSync } from 'node:child_process'
import { constants, inflateSync } from 'node:zlib'

/**
 * An independent decoder of ZVHD and ZVHD2, straight from the layout's description and as simple as can be: it shares no
 * code with the project. Holds the whole file and the whole disk in memory.
 */
export interface DecodedZvhd {
  readonly disk: Buffer
  readonly header: Buffer
  readonly records: readonly ZvhdRecord[]
}

export interface ZvhdRecord {
  readonly offset: number
  readonly total: number
  readonly block: number
  readonly payload: Buffer
  /** Zero as specified; the vendor's driver leaves other bytes there. */
  readonly padding: Buffer
}

const BLOCK = 2 * 1024 * 1024
const PAGE = 4096

function expectEqual(found: unknown, expected: unknown, what: string): void {
  if (found !== expected) throw new Error(`${what}: found ${String(found)}, expected ${String(expected)}`)
}

export function headerChecksum(header: Buffer): number {
  let sum = 0
  for (let i = 0; i < 512; i++) sum += i >= 64 && i < 68 ? 0 : (header[i] as number)
  return ~sum >>> 0
}

function readRecord(file: Buffer, offset: number): ZvhdRecord {
  expectEqual(file.toString('latin1', offset, offset + 12), 'hwstream bg\0', `record at ${offset}`)
  const size = file.readUInt32LE(offset + 12)
  const block = file.readUInt32LE(offset + 16)
  const total = Math.ceil((48 + size + 4) / PAGE) * PAGE
  expectEqual(
    file.subarray(offset + 20, offset + 48).every((byte) => byte === 0),
    true,
    `reserved bytes at ${offset + 20}`,
  )
  expectEqual(file.toString('latin1', offset + total - 4, offset + total), 'end\0', `end of the record at ${offset}`)
  const padding = file.subarray(offset + 48 + size, offset + total - 4)
  return { offset, total, block, payload: file.subarray(offset + 48, offset + 48 + size), padding }
}

function readRecords(file: Buffer, start: number, end: number): ZvhdRecord[] {
  const records: ZvhdRecord[] = []
  for (let offset = start; offset < end; ) {
    const record = readRecord(file, offset)
    expectEqual(record.block > (records.at(-1)?.block ?? -1), true, `block ${record.block} ascends`)
    records.push(record)
    offset += record.total
  }
  return records
}

function assemble(size: number, records: readonly ZvhdRecord[], blocks: readonly Buffer[]): Buffer {
  const disk = Buffer.alloc(Math.ceil(size / BLOCK) * BLOCK)
  records.forEach(({ block }, i) => {
    expectEqual(blocks[i]?.length, BLOCK, `length of block ${block}`)
    blocks[i]?.copy(disk, block * BLOCK)
  })
  return disk.subarray(0, size)
}

/** ZVHD: all payloads together are one zlib stream that never ends. */
export function decodeZvhd(file: Buffer): DecodedZvhd {
  const header = file.subarray(0, PAGE)
  expectEqual(header.toString('latin1', 0, 8), 'stream\0\0', 'cookie')
  expectEqual(header.readUInt32LE(64), headerChecksum(header), 'checksum')
  expectEqual(file.subarray(-PAGE).equals(header), true, 'the trailer is the header')
  const records = readRecords(file, PAGE, file.length - PAGE)
  for (const { payload, block } of records)
    expectEqual(payload.toString('hex', payload.length - 4), '0000ffff', `flush of ${block}`)
  const stream = Buffer.concat(records.map(({ payload }) => payload))
  const all = records.length === 0 ? stream : inflateSync(stream, { finishFlush: constants.Z_SYNC_FLUSH })
  const blocks = records.map((_, i) => all.subarray(i * BLOCK, (i + 1) * BLOCK))
  expectEqual(all.length, records.length * BLOCK, 'length of the stream')
  return { disk: assemble(Number(header.readBigUInt64LE(40)), records, blocks), header, records }
}

/** ZVHD2: an index at the end; each payload is whole. zstd payloads are unpacked by the zstd program. */
export function decodeZvhd2(file: Buffer): DecodedZvhd {
  const footer = file.subarray(-PAGE)
  expectEqual(footer.toString('latin1', 0, 8), 'z2strm\0\0', 'cookie')
  expectEqual(footer.readUInt32LE(64), headerChecksum(footer), 'checksum')
  const indexOffset = Number(footer.readBigUInt64LE(96))
  const count = footer.readUInt32LE(136)
  const records = readRecords(file, PAGE, indexOffset - PAGE)
  expectEqual(records.length, count, 'number of records')
  records.forEach(({ offset, block, total }, i) => {
    const entry = indexOffset + i * 16
    expectEqual(Number(file.readBigUInt64LE(entry)), offset, `index entry ${i}, offset`)
    expectEqual(file.readUInt32LE(entry + 8), block, `index entry ${i}, block`)
    expectEqual(file.readUInt32LE(entry + 12), total, `index entry ${i}, size`)
  })
  const size = Number(footer.readBigUInt64LE(40))
  const bitmapOffset = Number(footer.readBigUInt64LE(104))
  const stored = new Set(records.map(({ block }) => block))
  for (let block = 0; block < Math.ceil(size / BLOCK); block++) {
    const bit = ((file[bitmapOffset + (block >>> 3)] as number) >>> (block & 7)) & 1
    expectEqual(bit === 1, stored.has(block), `bitmap of block ${block}`)
  }
  const unpack = footer[141] === 1 ? unzstd : (payload: Buffer) => inflateSync(payload)
  return {
    disk: assemble(
      size,
      records,
      records.map(({ payload }) => unpack(payload)),
    ),
    header: footer,
    records,
  }
}

function unzstd(payload: Buffer): Buffer {
  return execFileSync('zstd', ['-d', '-c', '-q'], { input: payload, maxBuffer: 2 * BLOCK })
}
