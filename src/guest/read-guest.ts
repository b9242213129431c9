import { DiskferryError } from '../bytes/errors.ts'
import { MiB } from '../bytes/units.ts'
import { loadCodecs, unpackExactly } from '../bytes/unpack.ts'
import { EXTENT_WIDTH, Extent, type ExtentRows, Kind } from '../formats/extents.ts'
import type { Codec, DiskImage } from '../formats/format.ts'
import { readExactly } from '../io/source.ts'

/** Ours: what is looked at here is tables and first sectors. Whole disks go through the pipeline. */
const MOST_BYTES = MiB

/**
 * The guest's bytes from `offset` on, fewer than `length` only where the disk ends. For a few small pieces of a disk:
 * it reads and unpacks on this thread.
 * @throws DiskferryError `unsafe-image` where the bytes are in a parent that was not opened
 */
export async function readGuest(image: DiskImage, offset: number, length: number): Promise<Buffer> {
  const end = Math.min(image.virtualSize, offset + Math.min(length, MOST_BYTES))
  const into = Buffer.alloc(Math.max(0, end - offset))
  if (into.length === 0) return into
  await loadCodecs((image.codecs ?? []).map(({ name }) => name))
  for await (const rows of image.extents(offset, end)) {
    for (let row = 0; row < rows.length; row += EXTENT_WIDTH) await copyExtent(image, rows, row, into, offset)
  }
  return into
}

async function copyExtent(
  image: DiskImage,
  rows: ExtentRows,
  row: number,
  into: Buffer,
  offset: number,
): Promise<void> {
  const column = (index: number) => rows[row + index] as number
  const [guest, length, host] = [column(Extent.guest), column(Extent.length), column(Extent.host)]
  if (column(Extent.kind) === Kind.parent) throw parentNeeded(guest)
  if (column(Extent.kind) === Kind.stored) into.set(await readExactly(image.source, host, length), guest - offset)
  if (column(Extent.kind) !== Kind.packed) return
  const skip = column(Extent.skip)
  const packed = await readExactly(image.source, host, column(Extent.packed))
  const unit = unpackExactly(image.codecs?.[column(Extent.codec)] as Codec, packed, host)
  into.set(unit.subarray(skip, skip + length), guest - offset)
}

function parentNeeded(offset: number): DiskferryError {
  return new DiskferryError('unsafe-image', 'these bytes are in a parent that was not opened', { offset })
}
