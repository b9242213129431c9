import { DiskferryError } from '../../bytes/errors.ts'
import { KiB, SECTOR } from '../../bytes/units.ts'
import type { SequentialReader } from '../../io/sequential-reader.ts'
import type { DiskPiece, DiskStream } from '../format.ts'

const PIECE_SIZE = 256 * KiB
/** A fixed VHD is a raw disk with a footer: only the end of a stream shows it. */
const VHD_COOKIE = 'conectix'

/** A raw disk that comes front to back. How large it is, only its end tells. */
export async function openStream(reader: SequentialReader, isNamed: boolean): Promise<DiskStream> {
  return {
    format: 'raw',
    virtualSize: undefined,
    facts: { variant: 'raw', features: [], warnings: [], details: {} },
    codecs: [],
    pieces: () => pieces(reader, isNamed),
  }
}

async function* pieces(reader: SequentialReader, isNamed: boolean): AsyncGenerator<DiskPiece> {
  let tail: Buffer = Buffer.alloc(0)
  for (;;) {
    const offset = reader.position
    const bytes = await reader.next(PIECE_SIZE)
    if (bytes === undefined) break
    tail = tailOf(tail, bytes)
    yield { guest: offset, length: bytes.length, bytes, offset }
  }
  if (isNamed || tail.length < SECTOR || tail.toString('latin1', 0, VHD_COOKIE.length) !== VHD_COOKIE) return
  throw new DiskferryError('unsupported-format', 'the stream ends with the footer of a VHD: it is a fixed VHD', {
    found: VHD_COOKIE,
    expected: 'a raw disk',
    offset: reader.position - SECTOR,
    hint: 'say so (--from vhd); if it is raw all the same, say that (--from raw)',
  })
}

/** The last sector so far. */
function tailOf(tail: Buffer, bytes: Uint8Array): Buffer {
  if (bytes.length >= SECTOR) return Buffer.from(bytes.subarray(-SECTOR))
  return Buffer.concat([tail, bytes]).subarray(-SECTOR)
}
