import { DiskferryError, malformed, tooLarge, truncated } from '../../bytes/errors.ts'
import { asBuffer } from '../../bytes/struct.ts'
import { formatSize, isPowerOfTwo } from '../../bytes/units.ts'
import { readExactly, type Source } from '../../io/source.ts'
import { type Parent, readParentLocator } from './parent-locator.ts'
import type { Place } from './regions.ts'
import {
  FileParameter,
  fileParameters,
  Item,
  type ItemName,
  MAX_BLOCK_SIZE,
  MAX_DISK_SIZE,
  MAX_METADATA_ENTRIES,
  MAX_METADATA_ITEM,
  METADATA_SIGNATURE,
  METADATA_TABLE_SIZE,
  MetadataFlag,
  MIN_BLOCK_SIZE,
  metadataEntry,
  metadataTableHeader,
  SECTOR_SIZES,
  sectorSize,
  virtualDiskId,
  virtualDiskSize,
} from './spec.ts'

/** What the metadata says, checked. Sizes in bytes. */
export interface Metadata {
  readonly blockSize: number
  readonly isFixed: boolean
  readonly virtualSize: number
  readonly logicalSectorSize: number
  readonly physicalSectorSize: number | undefined
  readonly diskId: string | undefined
  /** In a differencing disk. */
  readonly parent: Parent | undefined
}

/** 2.6: the metadata table and the items that count for reading. */
export async function readMetadata(source: Source, region: Place): Promise<Metadata> {
  const items = await readItems(source, region)
  const parameters = fileParameters.decode(await readItem(source, items, 'fileParameters', fileParameters.size))
  const size = virtualDiskSize.decode(await readItem(source, items, 'virtualDiskSize', virtualDiskSize.size))
  const logical = sectorSize.decode(await readItem(source, items, 'logicalSectorSize', sectorSize.size))
  const physical = items.get('physicalSectorSize') && (await readItem(source, items, 'physicalSectorSize', 4))
  const id = items.get('virtualDiskId') && (await readItem(source, items, 'virtualDiskId', virtualDiskId.size))
  const hasParent = (parameters.flags & FileParameter.hasParent) !== 0
  const metadata = {
    blockSize: parameters.blockSize,
    isFixed: (parameters.flags & FileParameter.leaveBlocksAllocated) !== 0,
    virtualSize: size.size,
    logicalSectorSize: logical.size,
    physicalSectorSize: physical && sectorSize.decode(physical).size,
    diskId: id && virtualDiskId.decode(id).id,
    parent: hasParent ? await readParent(source, items) : undefined,
  }
  assertMetadata(metadata, region.offset)
  return metadata
}

type Items = ReadonlyMap<ItemName, Place>

/** Places of the known items, in the file. An unknown item that is required must not be passed over. */
async function readItems(source: Source, region: Place): Promise<Items> {
  const table = await readTable(source, region)
  const { entryCount } = metadataTableHeader.decode(table)
  const names = new Map(Object.entries(Item).map(([name, id]) => [id as string, name as ItemName]))
  const items = new Map<ItemName, Place>()
  for (let i = 0; i < entryCount; i++) {
    const at = metadataTableHeader.size + i * metadataEntry.size
    const entry = metadataEntry.decode(table, at)
    const name = entry.flags & MetadataFlag.isUser ? undefined : names.get(entry.id)
    const offset = region.offset + at
    if (name === undefined) {
      if (entry.flags & MetadataFlag.isRequired) throw unknownItem(entry.id, offset)
    } else {
      if (items.has(name)) throw malformed('VHDX metadata', { found: `${name} twice`, expected: 'once', offset })
      items.set(name, placeOf(region, entry, offset))
    }
  }
  return items
}

async function readTable(source: Source, { offset, length }: Place): Promise<Uint8Array> {
  if (length < METADATA_TABLE_SIZE || offset + METADATA_TABLE_SIZE > source.size) {
    throw truncated('VHDX metadata table', { found: source.size, expected: offset + METADATA_TABLE_SIZE, offset })
  }
  const table = await readExactly(source, offset, METADATA_TABLE_SIZE)
  const { signature, entryCount } = metadataTableHeader.decode(table)
  if (signature !== METADATA_SIGNATURE) {
    throw malformed('VHDX metadata table', { found: JSON.stringify(signature), expected: METADATA_SIGNATURE, offset })
  }
  if (entryCount <= MAX_METADATA_ENTRIES) return table
  throw tooLarge('VHDX metadata entries', { found: entryCount, expected: `at most ${MAX_METADATA_ENTRIES}`, offset })
}

function placeOf(region: Place, entry: { offset: number; length: number }, offset: number): Place {
  const isInside = entry.offset >= METADATA_TABLE_SIZE && entry.offset + entry.length <= region.length
  if (isInside && entry.length <= MAX_METADATA_ITEM) {
    return { offset: region.offset + entry.offset, length: entry.length }
  }
  const found = `${entry.length} bytes at ${entry.offset}`
  throw malformed('VHDX metadata item', { found, expected: `a place between the table and ${region.length}`, offset })
}

/** The item's bytes; with `size` given, exactly so many. */
async function readItem(source: Source, items: Items, name: ItemName, size?: number): Promise<Buffer> {
  const place = items.get(name)
  if (place === undefined) throw malformed('VHDX metadata', { found: `no ${name}`, expected: 'the item' })
  const { offset, length } = place
  if (size !== undefined && length !== size) {
    throw malformed(`VHDX ${name}`, { found: `${length} bytes`, expected: `${size} bytes`, offset })
  }
  if (offset + length > source.size) {
    throw truncated(`VHDX ${name}`, { found: source.size, expected: offset + length, offset })
  }
  return asBuffer(await readExactly(source, offset, length))
}

async function readParent(source: Source, items: Items): Promise<Parent> {
  const { offset } = items.get('parentLocator') ?? { offset: 0 }
  return readParentLocator(await readItem(source, items, 'parentLocator'), offset)
}

function assertMetadata({ blockSize, virtualSize, logicalSectorSize }: Metadata, offset: number): void {
  if (!isPowerOfTwo(blockSize) || blockSize < MIN_BLOCK_SIZE || blockSize > MAX_BLOCK_SIZE) {
    throw malformed('VHDX block size', { found: blockSize, expected: 'a power of two from 1 to 256 MiB', offset })
  }
  if (!SECTOR_SIZES.includes(logicalSectorSize)) {
    throw malformed('VHDX logical sector size', {
      found: logicalSectorSize,
      expected: SECTOR_SIZES.join(' or '),
      offset,
    })
  }
  if (virtualSize % logicalSectorSize !== 0) {
    throw malformed('VHDX disk size', { found: virtualSize, expected: 'whole sectors', offset })
  }
  if (virtualSize <= MAX_DISK_SIZE) return
  throw tooLarge('VHDX disk size', { found: virtualSize, expected: `at most ${formatSize(MAX_DISK_SIZE)}`, offset })
}

function unknownItem(id: string, offset: number): DiskferryError {
  const detail = { found: id, expected: 'known items', offset }
  return new DiskferryError('unsupported-feature', `the VHDX requires metadata that is not known: ${id}`, detail)
}
