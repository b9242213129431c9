import { malformed, truncated } from '../../bytes/errors.ts'
import { alignUp, SECTOR } from '../../bytes/units.ts'
import type { SequentialReader } from '../../io/sequential-reader.ts'
import type { DiskPiece } from '../format.ts'
import { unpacksTo } from './last-grain.ts'
import { assertHeader } from './sparse-file.ts'
import { Flag, GD_AT_END, grainMarker, MarkerType, metadataMarker, type SparseHeader, sparseHeader } from './spec.ts'
import { countStored } from './stream-front.ts'

/** What is known before the first grain. Sizes in bytes. */
export interface GrainStream {
  readonly header: SparseHeader
  readonly capacity: number
  readonly grainSize: number
  /** What the last grain unpacks to where its writer packed only what the disk needs. */
  readonly lastUnit: number
  /** Grains in the file by the tables in front; undefined where the tables follow their grains. */
  readonly stored: number | undefined
}

/** QEMU's limit too. */
const MAX_PACKED_FACTOR = 2
/** Ours: a directory has one entry for 32 MiB of disk, a table at most 512 entries. */
const MAX_METADATA = 16 * 1024 * 1024

/** The grains, in the order of the disk, up to the end of the stream; what lies between them is checked. */
export async function* grainPieces(reader: SequentialReader, stream: GrainStream): AsyncGenerator<DiskPiece> {
  let guest = 0
  const seen = { grains: 0, listed: 0, footer: false }
  for (;;) {
    const start = reader.position
    const sector = await reader.peek(SECTOR)
    if (sector.length === 0 && stream.stored !== undefined) break
    if (sector.length > grainMarker.size && grainMarker.decode(sector).size !== 0) {
      const piece = await readGrain(reader, stream, start)
      assertGrain(piece.guest, guest, stream, start)
      guest = piece.guest + stream.grainSize
      seen.grains += 1
      yield piece
      continue
    }
    const marker = metadataMarker.decode(await reader.read(SECTOR, 'a VMDK marker'))
    // Between the grains of a file whose tables stand in front there are gaps, which are zeros too.
    if (marker.type === MarkerType.endOfStream && stream.stored !== undefined) continue
    if (marker.type === MarkerType.endOfStream) {
      await reader.expectEnd('the VMDK end-of-stream marker')
      break
    }
    const length = metadataLength(marker, start)
    const bytes = await reader.read(length, 'VMDK metadata')
    if (marker.type === MarkerType.grainTable) seen.listed += countStored(bytes, 0, Math.floor(length / 4))
    else if (marker.type === MarkerType.footer) seen.footer = checkFooter(bytes, start + SECTOR)
  }
  assertWhole(seen, stream, reader.position)
}

async function readGrain(
  reader: SequentialReader,
  { capacity, grainSize, lastUnit, stored }: GrainStream,
  start: number,
): Promise<DiskPiece> {
  const { lba, size } = grainMarker.decode(await reader.peek(grainMarker.size))
  if (size > MAX_PACKED_FACTOR * grainSize) {
    const expected = `at most ${MAX_PACKED_FACTOR * grainSize}`
    throw malformed('VMDK grain size', { found: size, expected, offset: start + grainMarker.offsetOf('size') })
  }
  const used = grainMarker.size + size
  const padded = await reader.peek(alignUp(used, SECTOR))
  // QEMU, which writes no footer, does not fill the file's last sector.
  const isLast = stored !== undefined && padded.length >= used
  const record = await reader.read(isLast ? padded.length : alignUp(used, SECTOR), 'a VMDK grain')
  const bytes = record.subarray(grainMarker.size, used)
  const offset = start + grainMarker.size
  const guest = Number(lba) * SECTOR
  const length = Math.min(grainSize, capacity - guest)
  const isShort = length === lastUnit && length < grainSize && unpacksTo(lastUnit, bytes, offset)
  return { guest, length, bytes, offset, codec: isShort ? 1 : 0 }
}

/** Grains ascend, and each has its place once. */
function assertGrain(guest: number, least: number, { capacity, grainSize }: GrainStream, offset: number): void {
  const [found, last] = [guest / SECTOR, Math.ceil(capacity / grainSize) * grainSize - grainSize]
  if (guest % grainSize !== 0) {
    throw malformed('VMDK grain marker, sector', { found, expected: `a multiple of ${grainSize / SECTOR}`, offset })
  }
  if (guest >= least && guest <= last) return
  const expected = `from ${least / SECTOR} to ${last / SECTOR}: front to back, grains must ascend, each once`
  throw malformed('VMDK grain marker, sector', { found, expected, offset })
}

function metadataLength({ sectors, type }: { sectors: bigint; type: number }, offset: number): number {
  if (type > MarkerType.footer) throw malformed('VMDK marker type', { found: type, expected: '0 to 3', offset })
  if (sectors <= BigInt(MAX_METADATA / SECTOR)) return Number(sectors) * SECTOR
  throw malformed('VMDK marker, sectors', { found: `${sectors}`, expected: `at most ${MAX_METADATA / SECTOR}`, offset })
}

function checkFooter(bytes: Buffer, offset: number): true {
  if (bytes.length !== SECTOR) throw malformed('VMDK footer', { found: bytes.length, expected: SECTOR, offset })
  const footer = sparseHeader.decode(bytes)
  assertHeader(footer, offset)
  if (footer.gdOffset !== GD_AT_END) return true
  throw malformed('VMDK footer', { found: 'all ones', expected: 'the place of the grain directory', offset })
}

/** A grain that the tables know of and that did not come would be zeros without a word. */
function assertWhole(
  seen: { grains: number; listed: number; footer: boolean },
  { header, stored }: GrainStream,
  offset: number,
): void {
  const hasCopies = (header.flags & Flag.redundantTable) !== 0
  const expected = stored ?? (hasCopies ? seen.grains : seen.listed)
  if (stored === undefined && !seen.footer) {
    throw malformed('VMDK end-of-stream marker', { found: 'no footer before it', expected: 'a footer', offset })
  }
  if (seen.grains === expected) return
  throw truncated('VMDK grains, by their tables', { found: seen.grains, expected, offset })
}
