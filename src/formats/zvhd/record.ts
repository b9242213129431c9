import type { Frame } from '../frames.ts'
import { RECORD_ALIGNMENT, RECORD_COOKIE, RECORD_END, RECORD_HEADER_SIZE, recordHeader, recordSize } from './spec.ts'

/** The zlib header that opens the one stream which all payloads of a ZVHD together are. */
const ZLIB_HEADER = Uint8Array.of(0x78, 0x9c)

function write(into: Buffer, at: number, prefix: Uint8Array, payload: Uint8Array, block: number): number {
  const payloadSize = prefix.length + payload.length
  const size = recordSize(payloadSize)
  into.set(recordHeader.encode({ cookie: RECORD_COOKIE, payloadSize, block }), at)
  into.set(prefix, at + RECORD_HEADER_SIZE)
  into.set(payload, at + RECORD_HEADER_SIZE + prefix.length)
  into.fill(0, at + RECORD_HEADER_SIZE + payloadSize, at + size - RECORD_END.length)
  into.write(RECORD_END, at + size - RECORD_END.length, 'latin1')
  return size
}

const NOTHING = new Uint8Array(0)
const overhead = RECORD_HEADER_SIZE + ZLIB_HEADER.length + RECORD_END.length + RECORD_ALIGNMENT

/** Records: of ZVHD, whose payloads are segments of one stream, and of ZVHD2, whose payloads are whole. */
export const zvhdRecord = {
  independent: {
    overhead,
    write: (into, at, payload, block, isFirst) => write(into, at, isFirst ? ZLIB_HEADER : NOTHING, payload, block),
  },
  whole: {
    overhead,
    write: (into, at, payload, block) => write(into, at, NOTHING, payload, block),
  },
} as const satisfies Record<string, Frame>
