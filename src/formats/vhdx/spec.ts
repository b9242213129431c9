/**
 * Microsoft [MS-VHDX] "Virtual Hard Disk v2 (VHDX) File Format". All integers little-endian. Offsets and sizes are in
 * bytes, unless a field says otherwise.
 */
import { raw, size64le, struct, text, u16le, u32le, u64le, type Values } from '../../bytes/struct.ts'
import { KiB, MiB, TiB } from '../../bytes/units.ts'
import { guid } from './guid.ts'

/** 2.2 "Header Section": five areas of 64 KiB. */
export const FILE_SIGNATURE = 'vhdxfile'
export const HEADER_OFFSETS = [64 * KiB, 128 * KiB] as const
export const REGION_TABLE_OFFSETS = [192 * KiB, 256 * KiB] as const
/** Regions, and blocks, lie at multiples of it, and not at 0. */
export const REGION_ALIGNMENT = MiB

/** 2.2.2 "Headers". The checksum is over all 4 KiB, with its own field zero. */
export const header = struct('VHDX header', 4 * KiB, {
  signature: [0, text(4)],
  checksum: [4, u32le],
  /** The valid header with the greater number is the current one. */
  sequenceNumber: [8, u64le],
  fileWriteGuid: [16, guid],
  dataWriteGuid: [32, guid],
  /** Not zero: log entries that carry it are still to be replayed. */
  logGuid: [48, guid],
  logVersion: [64, u16le],
  version: [66, u16le],
  logLength: [68, u32le],
  logOffset: [72, u64le],
})
export type Header = Values<typeof header>
export const HEADER_SIGNATURE = 'head'
export const VERSION = 1

/** 2.2.3 "Region Table". The checksum is over all 64 KiB, with its own field zero. */
export const REGION_TABLE_SIZE = 64 * KiB
export const regionTableHeader = struct('VHDX region table', 16, {
  signature: [0, text(4)],
  checksum: [4, u32le],
  entryCount: [8, u32le],
})
export const REGION_SIGNATURE = 'regi'
export const MAX_REGIONS = 2047
export const regionEntry = struct('VHDX region', 32, {
  id: [0, guid],
  offset: [16, u64le],
  length: [24, u32le],
  /** Bit 0. */
  required: [28, u32le],
})
export const Region = {
  bat: '2dc27766-f623-4200-9d64-115e9bfd4a08',
  metadata: '8b7ca206-4790-4b9a-b8fe-575f050f886e',
} as const

/** 2.3 "Log": entries begin at multiples of 4 KiB. */
export const LOG_SECTOR = 4 * KiB
/** Ours: Hyper-V and QEMU make logs of 1 MiB. Each sector is looked at. */
export const MAX_LOG_SIZE = 256 * MiB
export const logEntry = struct('VHDX log entry', 64, {
  signature: [0, text(4)],
  checksum: [4, u32le],
  entryLength: [8, u32le],
  tail: [12, u32le],
  sequenceNumber: [16, u64le],
  descriptorCount: [24, u32le],
  logGuid: [32, guid],
  flushedFileOffset: [48, u64le],
  lastFileOffset: [56, u64le],
})
export const LOG_SIGNATURE = 'loge'

/** 2.6.1 "Metadata Table". */
export const METADATA_TABLE_SIZE = 64 * KiB
export const metadataTableHeader = struct('VHDX metadata table', 32, {
  signature: [0, text(8)],
  entryCount: [10, u16le],
})
export const METADATA_SIGNATURE = 'metadata'
export const MAX_METADATA_ENTRIES = 2047
export const metadataEntry = struct('VHDX metadata entry', 32, {
  id: [0, guid],
  /** From the region's begin. */
  offset: [16, u32le],
  length: [20, u32le],
  flags: [24, u32le],
})
export const MetadataFlag = { isUser: 1, isVirtualDisk: 2, isRequired: 4 } as const
/** 2.6.1.2: "at most 1 MB". */
export const MAX_METADATA_ITEM = MiB

/** 2.6.2 "Known Metadata Items". */
export const Item = {
  fileParameters: 'caa16737-fa36-4d43-b3b6-33f0aa44e76b',
  virtualDiskSize: '2fa54224-cd1b-4876-b211-5dbed83bf4b8',
  virtualDiskId: 'beca12ab-b2e6-4523-93ef-c309e000c746',
  logicalSectorSize: '8141bf1d-a96f-4709-ba47-f233a8faab5f',
  physicalSectorSize: 'cda348c7-445d-4471-9cc9-e9885251c556',
  parentLocator: 'a8d35f2d-b30b-454d-abf7-d3d84834ab0c',
} as const
export type ItemName = keyof typeof Item

export const fileParameters = struct('VHDX file parameters', 8, { blockSize: [0, u32le], flags: [4, u32le] })
export const FileParameter = { leaveBlocksAllocated: 1, hasParent: 2 } as const
export const virtualDiskSize = struct('VHDX virtual disk size', 8, { size: [0, size64le] })
export const virtualDiskId = struct('VHDX virtual disk id', 16, { id: [0, guid] })
export const sectorSize = struct('VHDX sector size', 4, { size: [0, u32le] })

/** 2.6.2.6 "Parent Locator": pairs of UTF-16 texts, whose places count from the locator's begin. */
export const locatorHeader = struct('VHDX parent locator', 20, {
  type: [0, raw(16)],
  count: [18, u16le],
})
export const locatorEntry = struct('VHDX parent locator entry', 12, {
  keyOffset: [0, u32le],
  valueOffset: [4, u32le],
  keyLength: [8, u16le],
  valueLength: [10, u16le],
})

export const MIN_BLOCK_SIZE = MiB
export const MAX_BLOCK_SIZE = 256 * MiB
export const MAX_DISK_SIZE = 64 * TiB
export const SECTOR_SIZES: readonly number[] = [512, 4096]

/** 2.5 "BAT": after the entries of each chunk's payload blocks comes one for its sector bitmap. */
export const BAT_ENTRY_SIZE = 8
export const SECTORS_PER_CHUNK = 2 ** 23
/** 2.5.1.2 "Sector Bitmap BAT Entry States": the only other one is 0, not present. */
export const BITMAP_PRESENT = 6
/** 2.4: one bit for each sector of a chunk, the first one lowest; 0 says that the sector is in the parent. */
export const BITMAP_BLOCK_SIZE = MiB

/** 2.5.1.1 "Payload BAT Entry States", bits 0..2 of an entry. 5 was `unmapped` before version 1.00. */
export const BlockState = {
  notPresent: 0,
  undefined: 1,
  zero: 2,
  unmapped: 3,
  unmappedOld: 5,
  fullyPresent: 6,
  partiallyPresent: 7,
} as const

/**
 * 2.5.1 "BAT Entry", read as two halves: `high` holds bits 32..63, `low` bits 0..31. Bits 20..63 are the block's offset
 * in MiB, so that with the bits below it masked off the entry is the offset in bytes.
 */
export function blockState(low: number): number {
  return low & 7
}

export function blockOffset(high: number, low: number): number {
  return high * 2 ** 32 + ((low & 0xfff0_0000) >>> 0)
}
