import { complementSum } from '../../bytes/complement-sum.ts'
import { DiskferryError, malformed, tooLarge, truncated } from '../../bytes/errors.ts'
import { formatSize, isPowerOfTwo, SECTOR } from '../../bytes/units.ts'
import { isZero } from '../../bytes/zeros.ts'
import { readClipped, readExactly, type Source } from '../../io/source.ts'
import { ExtentCollector, type ExtentRows, Kind } from '../extents.ts'
import { flatExtents } from '../flat-extents.ts'
import type { DiskImage, ImageFacts } from '../format.ts'
import { assertSupportedVersion, diskSize, type FoundFooter, readFooter } from './footer.ts'
import {
  BAT_ENTRY_SIZE,
  BAT_UNUSED,
  bitmapSize,
  DiskType,
  DYNAMIC_COOKIE,
  type DynamicHeader,
  dynamicHeader,
  type Footer,
  MAX_BLOCK_SIZE,
  MAX_DISK_SIZE,
  MIN_BLOCK_SIZE,
  VERSION,
} from './spec.ts'

/** Extents that make a batch: enough to hide what a batch costs, few enough to stay in the cache. */
const BATCH = 1024
/** BAT entries read at once. */
const BAT_BATCH = 16 * 1024

/** Opens a fixed or dynamic VHD. Differencing disks open, to be inspected; their extents refuse. */
export async function open(source: Source): Promise<DiskImage> {
  const found = await readFooter(source)
  assertSupportedVersion(found.fields, VERSION)
  switch (found.fields.diskType) {
    case DiskType.fixed:
      return openFixed(source, found)
    case DiskType.dynamic:
    case DiskType.differencing:
      return openDynamic(source, found)
    default:
      throw new DiskferryError('unsupported-feature', `VHD disk type ${found.fields.diskType} is not known`, {
        found: found.fields.diskType,
        expected: '2 (fixed), 3 (dynamic) or 4 (differencing)',
      })
  }
}

function openFixed(source: Source, found: FoundFooter): DiskImage {
  const virtualSize = boundedDiskSize(found.fields)
  if (virtualSize > found.dataEnd) {
    throw truncated('data of the fixed VHD', { found: found.dataEnd, expected: virtualSize, offset: found.dataEnd })
  }
  return {
    format: 'vhd',
    source,
    virtualSize,
    facts: facts('fixed', found, {}),
    extents: (start, end) => flatExtents(source, virtualSize, start, end),
  }
}

async function openDynamic(source: Source, found: FoundFooter): Promise<DiskImage> {
  const virtualSize = boundedDiskSize(found.fields)
  const header = await readDynamicHeader(source, found.fields)
  const blocks = Math.ceil(virtualSize / header.blockSize)
  const tableOffset = assertTable(source, header, blocks)
  const details = { blockSize: header.blockSize, blocks, tableEntries: header.maxTableEntries }
  const isDifferencing = found.fields.diskType === DiskType.differencing
  const table = { source, offset: tableOffset, blockSize: header.blockSize, isDifferencing }
  return {
    format: 'vhd',
    source,
    virtualSize,
    facts: {
      ...facts(isDifferencing ? 'differencing' : 'dynamic', found, details),
      ...(isDifferencing && parentOf(header)),
    },
    extents: (start = 0, end = virtualSize) => blockExtents(table, start, end),
  }
}

interface BlockTable {
  readonly source: Source
  /** Byte offset of the BAT. */
  readonly offset: number
  readonly blockSize: number
  /** What is not stored is in the parent. */
  readonly isDifferencing: boolean
}

async function* blockExtents(table: BlockTable, start: number, end: number): AsyncGenerator<ExtentRows> {
  const { source, offset, blockSize, isDifferencing } = table
  const unallocated = isDifferencing ? Kind.parent : Kind.hole
  const extents = new ExtentCollector(start, end)
  let read = 0
  const last = Math.ceil(end / blockSize)
  for (let block = Math.floor(start / blockSize); block < last; block += BAT_BATCH) {
    const count = Math.min(BAT_BATCH, last - block)
    const entries = await readExactly(source, offset + block * BAT_ENTRY_SIZE, count * BAT_ENTRY_SIZE)
    const view = new DataView(entries.buffer, entries.byteOffset)
    for (let i = 0; i < count; i++) {
      const sector = view.getUint32(i * BAT_ENTRY_SIZE)
      const guest = (block + i) * blockSize
      const length = Math.min(blockSize, end - guest)
      if (sector === BAT_UNUSED) {
        extents.add(guest, length, unallocated)
        continue
      }
      const host = blockData(table, block + i, sector, length)
      if (isDifferencing) {
        read += bitmapSize(blockSize) + length
        if (read > source.size) throw overlapping(offset + (block + i) * BAT_ENTRY_SIZE)
        addSectors(extents, await readBitmap(table, sector), guest, length, host)
      } else extents.add(guest, length, Kind.stored, host)
      if (extents.count >= BATCH) yield extents.take()
    }
    yield extents.take()
  }
}

/** Each block's bitmap is read: where all entries give the same block, there would be no end of it. */
function overlapping(offset: number): DiskferryError {
  const expected = 'blocks that do not overlap'
  return malformed('VHD blocks', { found: 'more of them than the file holds', expected, offset })
}

function readBitmap({ source, blockSize }: BlockTable, sector: number): Promise<Uint8Array> {
  return readExactly(source, sector * SECTOR, bitmapSize(blockSize))
}

/** "Differencing Hard Disk Images": a sector whose bit is 0 is the parent's. The first sector is the highest bit. */
function addSectors(extents: ExtentCollector, bitmap: Uint8Array, guest: number, length: number, host: number): void {
  for (let at = 0; at < length; at += SECTOR) {
    const index = at / SECTOR
    const isStored = ((bitmap[index >>> 3] as number) & (0x80 >>> (index & 7))) !== 0
    extents.add(
      guest + at,
      Math.min(SECTOR, length - at),
      isStored ? Kind.stored : Kind.parent,
      isStored ? host + at : 0,
    )
  }
}

/** Byte offset of a block's data, which follows its bitmap. In a dynamic disk the bitmap says nothing to a reader. */
function blockData({ source, offset, blockSize }: BlockTable, block: number, sector: number, length: number): number {
  const host = sector * SECTOR + bitmapSize(blockSize)
  if (host + length <= source.size) return host
  const at = offset + block * BAT_ENTRY_SIZE
  throw truncated(`VHD block ${block} ends at ${host + length}`, {
    found: source.size,
    expected: host + length,
    offset: at,
  })
}

async function readDynamicHeader(source: Source, { dataOffset }: Footer): Promise<DynamicHeader> {
  const end = dataOffset + BigInt(dynamicHeader.size)
  if (end > BigInt(source.size)) {
    throw truncated('VHD dynamic header', { found: source.size, expected: String(end), offset: Number(dataOffset) })
  }
  const offset = Number(dataOffset)
  const bytes = await readClipped(source, offset, dynamicHeader.size)
  const header = dynamicHeader.decode(bytes)
  if (header.cookie !== DYNAMIC_COOKIE) {
    throw malformed('VHD dynamic header', { found: JSON.stringify(header.cookie), expected: DYNAMIC_COOKIE, offset })
  }
  const computed = complementSum(bytes, dynamicHeader.offsetOf('checksum'))
  if (header.checksum !== computed) {
    throw malformed('VHD dynamic header checksum', {
      found: header.checksum,
      expected: computed,
      offset: offset + dynamicHeader.offsetOf('checksum'),
    })
  }
  assertBlockSize(header.blockSize, offset + dynamicHeader.offsetOf('blockSize'))
  return header
}

function assertBlockSize(found: number, offset: number): void {
  if (!isPowerOfTwo(found) || found < MIN_BLOCK_SIZE) {
    throw malformed('VHD block size', { found, expected: 'a power of two of at least 512', offset })
  }
  if (found > MAX_BLOCK_SIZE) {
    throw tooLarge('VHD block size', { found, expected: `at most ${formatSize(MAX_BLOCK_SIZE)}`, offset })
  }
}

/** The table must have an entry for each block, and lie in the file. Nothing of it is read here. */
function assertTable(source: Source, header: DynamicHeader, blocks: number): number {
  if (header.maxTableEntries < blocks) {
    throw malformed('VHD max table entries', { found: header.maxTableEntries, expected: `at least ${blocks}` })
  }
  const end = header.tableOffset + BigInt(blocks * BAT_ENTRY_SIZE)
  if (end > BigInt(source.size)) {
    throw truncated('VHD block allocation table', { found: source.size, expected: String(end) })
  }
  return Number(header.tableOffset)
}

function boundedDiskSize(fields: Footer): number {
  const size = diskSize(fields)
  if (fields.diskType === DiskType.fixed || size <= MAX_DISK_SIZE) return size
  throw tooLarge('VHD disk size', { found: size, expected: `at most ${formatSize(MAX_DISK_SIZE)}` })
}

function facts(variant: string, { fields, warnings }: FoundFooter, details: ImageFacts['details']): ImageFacts {
  const sizes =
    fields.originalSize === fields.currentSize
      ? {}
      : { originalSize: String(fields.originalSize), currentSize: String(fields.currentSize) }
  const uniqueId = Buffer.from(fields.uniqueId).toString('hex')
  return {
    variant,
    features: isZero(Uint8Array.of(fields.savedState)) ? [] : ['saved state'],
    warnings,
    details: { creator: fields.creator, uniqueId, ...sizes, ...details },
  }
}

/** Names are often paths of the machine that made the disk: what counts is the file's own name, and the parent's id. */
function parentOf(header: DynamicHeader): Pick<ImageFacts, 'backingFile' | 'parentId'> {
  const path = new TextDecoder('utf-16be').decode(header.parentName).replace(/\0.*$/s, '')
  const backingFile = path.slice(Math.max(path.lastIndexOf('/'), path.lastIndexOf('\\')) + 1)
  return { backingFile, parentId: Buffer.from(header.parentUniqueId).toString('hex') }
}
