import { malformed } from '../../bytes/errors.ts'
import type { SequentialReader } from '../../io/sequential-reader.ts'
import { StreamTail } from '../../io/stream-tail.ts'
import type { DiskStream } from '../format.ts'
import { checkHeader, headerDetails } from './header.ts'
import { codecOf } from './open-zvhd2.ts'
import { BLOCK_SIZE, HEADER_SIZE, ZVHD2_COOKIE, zvhd2Header } from './spec.ts'
import { readRecords } from './stream-records.ts'

/** Opens a ZVHD2 that comes front to back: its records say which block they are, so the index is not needed. */
export async function openZvhd2Stream(reader: SequentialReader): Promise<DiskStream> {
  const header = await reader.read(HEADER_SIZE, 'the ZVHD2 header')
  checkHeader(header, 0, ZVHD2_COOKIE)
  const fields = zvhd2Header.decode(header)
  const codec = codecOf(fields, 0)
  const virtualSize = fields.originalSize
  return {
    format: 'zvhd2',
    virtualSize,
    facts: { variant: codec, features: [], warnings: [], details: { ...headerDetails(fields), blockSize: BLOCK_SIZE } },
    codecs: [{ name: codec, unitSize: BLOCK_SIZE }],
    async *pieces() {
      let records = 0
      for await (const { guest, length, payload, offset } of readRecords(reader, virtualSize, ZVHD2_COOKIE)) {
        records += 1
        yield { guest, length, bytes: payload, offset, codec: 0 }
      }
      await checkEnd(reader, virtualSize, records)
    },
  }
}

/** Passes over the tables to the footer, which must know of the same disk, as many records, and where they ended. */
async function checkEnd(reader: SequentialReader, virtualSize: number, records: number): Promise<void> {
  const index = reader.position + HEADER_SIZE
  const bytes = await new StreamTail(reader, HEADER_SIZE).last()
  const at = reader.position - bytes.length
  checkHeader(bytes, at, ZVHD2_COOKIE)
  const { originalSize, storedBlocks, indexOffset } = zvhd2Header.decode(bytes)
  for (const [name, found, expected] of [
    ['originalSize', originalSize, virtualSize],
    ['storedBlocks', storedBlocks, records],
    ['indexOffset', indexOffset, index],
  ] as const) {
    if (found !== expected) {
      throw malformed(`ZVHD2 footer, ${name}`, { found, expected, offset: at + zvhd2Header.offsetOf(name) })
    }
  }
}
