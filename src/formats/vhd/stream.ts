import { DiskferryError, malformed } from '../../bytes/errors.ts'
import type { SequentialReader } from '../../io/sequential-reader.ts'
import { StreamTail } from '../../io/stream-tail.ts'
import type { DiskPiece, DiskStream } from '../format.ts'
import { assertSupportedVersion, diskSize, requireFooter } from './footer.ts'
import { DiskType, FOOTER_COOKIE, FOOTER_SIZE, VERSION } from './spec.ts'

/** Opens a fixed VHD that comes front to back: a raw disk, and a footer at its end that says so. */
export async function openStream(reader: SequentialReader): Promise<DiskStream> {
  const head = await reader.peek(FOOTER_COOKIE.length)
  if (head.toString('latin1') === FOOTER_COOKIE) throw notFixed('a footer in front', 0)
  return {
    format: 'vhd',
    virtualSize: undefined,
    facts: { variant: 'fixed', features: [], warnings: [], details: {} },
    codecs: [],
    pieces: () => pieces(reader),
  }
}

async function* pieces(reader: SequentialReader): AsyncGenerator<DiskPiece> {
  const tail = new StreamTail(reader, FOOTER_SIZE)
  let guest = 0
  for await (const bytes of tail.body()) {
    yield { guest, length: bytes.length, bytes, offset: guest }
    guest += bytes.length
  }
  const fields = requireFooter(await tail.last(), guest)
  assertSupportedVersion(fields, VERSION)
  if (fields.diskType !== DiskType.fixed) throw notFixed(`disk type ${fields.diskType}`, guest)
  const expected = diskSize(fields)
  if (guest !== expected) throw malformed('size of the fixed VHD', { found: guest, expected, offset: guest })
}

function notFixed(found: string, offset: number): DiskferryError {
  return new DiskferryError('unsupported-format', "this VHD is not a fixed one: it can't be read from a stream", {
    found,
    expected: 'a fixed VHD',
    offset,
    hint: 'its table says where the disk lies in the file, in any order: store it in a file, and convert that',
  })
}
