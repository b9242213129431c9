import type { SequentialReader } from '../../io/sequential-reader.ts'
import { assertBlock, checkRecordEnd, checkRecordHeader } from './records.ts'
import { BLOCK_SIZE, RECORD_COOKIE, RECORD_END, RECORD_HEADER_SIZE, recordSize } from './spec.ts'

/** A record as it comes. */
export interface RecordBytes {
  /** Where its block begins in the guest. */
  readonly guest: number
  /** Guest bytes: the last block may reach past the disk's end. */
  readonly length: number
  readonly payload: Buffer
  /** Of the payload in the source. */
  readonly offset: number
}

/** The records between header and trailer; what ends them begins with `cookie`, as the header does. */
export async function* readRecords(
  reader: SequentialReader,
  virtualSize: number,
  cookie: string,
): AsyncGenerator<RecordBytes> {
  const blocks = Math.ceil(virtualSize / BLOCK_SIZE)
  let last = -1
  while (await isRecord(reader, cookie)) {
    const start = reader.position
    const { payloadSize, block } = checkRecordHeader(await reader.read(RECORD_HEADER_SIZE, 'a ZVHD record'), start)
    assertBlock(block, last, blocks, start)
    const payload = await reader.read(payloadSize, 'a ZVHD record')
    const padding = recordSize(payloadSize) - RECORD_HEADER_SIZE - payloadSize - RECORD_END.length
    await reader.skip(padding, 'a ZVHD record')
    const end = reader.position
    checkRecordEnd(await reader.read(RECORD_END.length, 'a ZVHD record'), end)
    const guest = block * BLOCK_SIZE
    yield { guest, length: Math.min(BLOCK_SIZE, virtualSize - guest), payload, offset: start + RECORD_HEADER_SIZE }
    last = block
  }
}

/** What follows is a record or the trailer; anything else is said of a record. */
async function isRecord(reader: SequentialReader, cookie: string): Promise<boolean> {
  const mark = (await reader.peek(RECORD_COOKIE.length)).toString('latin1')
  if (mark === RECORD_COOKIE || mark.length < RECORD_COOKIE.length) return mark === RECORD_COOKIE
  return !mark.startsWith(cookie)
}
