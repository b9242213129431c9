import { malformed } from '../../bytes/errors.ts'
import type { SequentialReader } from '../../io/sequential-reader.ts'
import type { DiskPiece, DiskStream } from '../format.ts'
import { checkHeader, headerDetails } from './header.ts'
import { inflateRecord, windowOf } from './inflate-record.ts'
import { BLOCK_SIZE, HEADER_SIZE, ZLIB_HEADER_SIZE, ZVHD_COOKIE } from './spec.ts'
import { type RecordBytes, readRecords } from './stream-records.ts'

/** Records that are inflated at once, as long as they can be. */
const AT_ONCE = 4

/** Opens a ZVHD that comes front to back, which is what it was made for. */
export async function openStream(reader: SequentialReader): Promise<DiskStream> {
  const header = await reader.read(HEADER_SIZE, 'the ZVHD header')
  const fields = checkHeader(header, 0, ZVHD_COOKIE)
  const virtualSize = fields.originalSize
  return {
    format: 'zvhd',
    virtualSize,
    facts: {
      variant: 'zvhd',
      features: [],
      warnings: [],
      details: { ...headerDetails(fields), blockSize: BLOCK_SIZE },
    },
    codecs: [],
    async *pieces() {
      yield* inflated(readRecords(reader, virtualSize, ZVHD_COOKIE))
      await readTrailer(reader, header)
    },
  }
}

async function readTrailer(reader: SequentialReader, header: Buffer): Promise<void> {
  const offset = reader.position
  const trailer = await reader.read(HEADER_SIZE, 'the ZVHD trailer')
  checkHeader(trailer, offset, ZVHD_COOKIE)
  if (!trailer.equals(header))
    throw malformed('ZVHD trailer', { found: 'another', expected: 'the header again', offset })
  await reader.expectEnd('the ZVHD trailer')
}

/**
 * Inflates records, in their order. Several at once, until one refers back into the one before: what the vendor writes
 * does so nearly always, and then trying ahead would be work for nothing.
 */
async function* inflated(records: AsyncGenerator<RecordBytes>): AsyncGenerator<DiskPiece> {
  const ahead: { record: RecordBytes; block: Promise<Uint8Array> }[] = []
  let before: Promise<Uint8Array> | undefined
  let atOnce = AT_ONCE
  const shift = async (): Promise<DiskPiece> => {
    const { record, block } = ahead.shift() as (typeof ahead)[number]
    const { guest, length, offset } = record
    return { guest, length, offset, bytes: (await block).subarray(0, length) }
  }
  for await (const record of records) {
    const previous = before
    const windowBefore =
      previous &&
      (async () => {
        atOnce = 1
        return windowOf(await previous)
      })
    const skip = previous === undefined ? ZLIB_HEADER_SIZE : 0
    const block = inflateRecord(record.payload.subarray(skip), record.offset + skip, windowBefore)
    block.catch(() => undefined)
    before = block
    ahead.push({ record, block })
    while (ahead.length >= atOnce) yield await shift()
  }
  while (ahead.length > 0) yield await shift()
}
