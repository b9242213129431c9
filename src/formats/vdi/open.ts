import { truncated } from '../../bytes/errors.ts'
import { isZero } from '../../bytes/zeros.ts'
import { readExactly, type Source } from '../../io/source.ts'
import { ExtentCollector, type ExtentRows, Kind } from '../extents.ts'
import type { DiskImage } from '../format.ts'
import { readHeader } from './header.ts'
import { BLOCK_FREE, BLOCK_ZERO, type Header, ImageType, MAP_ENTRY_SIZE } from './spec.ts'

/** Entries of the block map read at once. */
const MAP_BATCH = 16 * 1024

const VARIANTS: Readonly<Record<number, string>> = {
  [ImageType.dynamic]: 'dynamic',
  [ImageType.fixed]: 'fixed',
  [ImageType.differencing]: 'differencing',
}

/**
 * Opens a dynamic, fixed or differencing VDI. The last one's free blocks are in its parent, of which it knows no name.
 */
export async function open(source: Source): Promise<DiskImage> {
  const header = await readHeader(source)
  const { diskSize, blockSize, blocks, blocksAllocated, type } = header
  const parent = parentOf(header)
  const unallocated = parent === undefined ? Kind.hole : Kind.parent
  return {
    format: 'vdi',
    source,
    virtualSize: diskSize,
    facts: {
      variant: VARIANTS[type] ?? String(type),
      features: [],
      warnings: [],
      ...(parent !== undefined && { backingFile: parent, parentId: parent }),
      details: { blockSize, blocks, blocksAllocated, uniqueId: formatUuid(header.uuid) },
    },
    extents(start = 0, end = diskSize) {
      return blockExtents(source, header, unallocated, start, end)
    },
  }
}

async function* blockExtents(
  source: Source,
  header: Header,
  unallocated: Kind,
  start: number,
  end: number,
): AsyncGenerator<ExtentRows> {
  const { mapOffset, blockSize, diskSize } = header
  const extents = new ExtentCollector(start, end)
  const last = Math.ceil(end / blockSize)
  for (let first = Math.floor(start / blockSize); first < last; first += MAP_BATCH) {
    const count = Math.min(MAP_BATCH, last - first)
    const map = await readExactly(source, mapOffset + first * MAP_ENTRY_SIZE, count * MAP_ENTRY_SIZE)
    const view = new DataView(map.buffer, map.byteOffset)
    for (let i = 0; i < count; i++) {
      const entry = view.getUint32(i * MAP_ENTRY_SIZE, true)
      const guest = (first + i) * blockSize
      const length = Math.min(blockSize, diskSize - guest)
      if (entry === BLOCK_FREE) extents.add(guest, length, unallocated)
      else if (entry === BLOCK_ZERO) extents.add(guest, length, Kind.zero)
      else extents.add(guest, length, Kind.stored, blockData(source, header, first + i, entry, length))
    }
    yield extents.take()
  }
}

/** Byte offset of a block's data, behind its extra bytes. */
function blockData(source: Source, header: Header, block: number, entry: number, length: number): number {
  const { mapOffset, dataOffset, blockSize, blockExtra } = header
  const host = dataOffset + entry * (blockSize + blockExtra) + blockExtra
  if (host + length <= source.size) return host
  throw truncated(`VDI block ${block} ends at ${host + length}`, {
    found: source.size,
    expected: host + length,
    offset: mapOffset + block * MAP_ENTRY_SIZE,
  })
}

/** A link without the type counts too: what is free here may be stored there. */
function parentOf({ type, parent }: Header): string | undefined {
  return type === ImageType.differencing || !isZero(parent) ? formatUuid(parent) : undefined
}

/** Its first three fields are little-endian integers. */
function formatUuid(bytes: Uint8Array): string {
  const order = [3, 2, 1, 0, -1, 5, 4, -1, 7, 6, -1, 8, 9, -1, 10, 11, 12, 13, 14, 15]
  const hex = (index: number) => (bytes[index] as number).toString(16).padStart(2, '0')
  return order.map((index) => (index < 0 ? '-' : hex(index))).join('')
}
