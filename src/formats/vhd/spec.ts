/**
 * Microsoft "Virtual Hard Disk Image Format Specification" 1.0. All integers big-endian.
 */
import { raw, struct, text, u8, u16be, u32be, u64be, type Values } from '../../bytes/struct.ts'
import { GiB, MiB, SECTOR } from '../../bytes/units.ts'

export const FOOTER_COOKIE = 'conectix'
export const DYNAMIC_COOKIE = 'cxsparse'
/** "Hard Disk Footer Format". Very old files end after 511 bytes: the last one is reserved. */
export const FOOTER_SIZE = 512
export const OLD_FOOTER_SIZE = 511

export const footer = struct('VHD footer', FOOTER_SIZE, {
  cookie: [0, text(8)],
  /** Bit 0 temporary, bit 1 reserved and always set. */
  features: [8, u32be],
  version: [12, u32be],
  /** Absolute offset of the dynamic header; all ones for a fixed disk. */
  dataOffset: [16, u64be],
  /** Seconds since 2000-01-01T00:00:00Z. */
  timestamp: [24, u32be],
  creator: [28, text(4)],
  creatorVersion: [32, u32be],
  creatorHost: [36, text(4)],
  originalSize: [40, u64be],
  currentSize: [48, u64be],
  cylinders: [56, u16be],
  heads: [58, u8],
  sectorsPerTrack: [59, u8],
  diskType: [60, u32be],
  checksum: [64, u32be],
  uniqueId: [68, raw(16)],
  savedState: [84, u8],
})
export type Footer = Values<typeof footer>

/** "Dynamic Disk Header Format". */
export const dynamicHeader = struct('VHD dynamic header', 1024, {
  cookie: [0, text(8)],
  /** Unused, all ones. */
  dataOffset: [8, u64be],
  tableOffset: [16, u64be],
  version: [24, u32be],
  maxTableEntries: [28, u32be],
  blockSize: [32, u32be],
  checksum: [36, u32be],
  parentUniqueId: [40, raw(16)],
  parentTimestamp: [56, u32be],
  parentName: [64, raw(512)],
})
export type DynamicHeader = Values<typeof dynamicHeader>

export const VERSION = 0x00010000
export const FEATURES_RESERVED = 0x00000002
export const NO_DATA_OFFSET = 0xffff_ffff_ffff_ffffn
export const DiskType = { fixed: 2, dynamic: 3, differencing: 4 } as const

/** A BAT entry is the sector number of a block's bitmap; all ones says that the block is not stored. */
export const BAT_ENTRY_SIZE = 4
export const BAT_UNUSED = 0xffffffff

export const DEFAULT_BLOCK_SIZE = 2 * MiB
export const MIN_BLOCK_SIZE = SECTOR
/** Ours: far above what any tool writes, and small enough that one block is a reasonable piece of work. */
export const MAX_BLOCK_SIZE = 256 * MiB
/** "The maximum size of a virtual hard disk is 2040 GB": sector numbers in the BAT have 32 bits. */
export const MAX_DISK_SIZE = 2040 * GiB

/** A block begins with a bitmap of its sectors, padded to a sector. */
export function bitmapSize(blockSize: number): number {
  return Math.ceil(blockSize / SECTOR / 8 / SECTOR) * SECTOR
}
