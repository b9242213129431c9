/**
 * ZVHD and ZVHD2. All integers little-endian, unlike VHD. The layout is that of the vendor's published driver
 * (ims-qemu-img, 2018). Not known: what creator version 1.3 changed, whether the service that imports these files adds
 * fields, and whether it looks at geometry, type or uuid.
 */
import { complementSum } from '../../bytes/complement-sum.ts'
import { raw, size64le, struct, text, u8, u32le, u64le, type Values } from '../../bytes/struct.ts'
import { GiB, KiB, MiB } from '../../bytes/units.ts'
import { geometryOf } from '../chs.ts'

export const HEADER_SIZE = 4096
/** Readers compare six bytes of it. */
export const ZVHD_COOKIE = 'stream\0\0'
export const ZVHD2_COOKIE = 'z2strm\0\0'

const headerFields = {
  cookie: [0, text(8)],
  features: [8, u32le],
  version: [12, u32le],
  dataOffset: [16, u64le],
  /** Seconds since 2000-01-01T00:00:00Z. */
  timestamp: [24, u32le],
  creator: [28, text(4)],
  creatorVersion: [32, u32le],
  creatorHost: [36, u32le],
  /** The disk's size in bytes, exactly. */
  originalSize: [40, size64le],
  /** The same rounded up to 1 GiB: what the vendor's reader shows. */
  currentSize: [48, size64le],
  geometry: [56, u32le],
  diskType: [60, u32le],
  /** One's complement of the sum of bytes 0..511, with this field zero. */
  checksum: [64, u32le],
  uniqueId: [68, raw(16)],
} as const

/** In front of a ZVHD, and again behind it. */
export const zvhdHeader = struct('ZVHD header', HEADER_SIZE, headerFields)
export type ZvhdHeader = Values<typeof zvhdHeader>

/** In front of a ZVHD2 with offsets of zero; the one in the last 4096 bytes counts. */
export const zvhd2Header = struct('ZVHD2 footer', HEADER_SIZE, {
  ...headerFields,
  zvhd2Version: [87, u8],
  blockSize: [88, u32le],
  blocks: [92, u32le],
  indexOffset: [96, size64le],
  bitmapOffset: [104, size64le],
  indexSize: [112, u32le],
  bitmapSize: [116, u32le],
  indexSegmentSize: [120, u32le],
  bitmapSegmentSize: [124, u32le],
  indexSegments: [128, u32le],
  bitmapSegments: [132, u32le],
  storedBlocks: [136, u32le],
  indexHoldsZeroBlocks: [140, u8],
  compression: [141, u8],
})
export type Zvhd2Header = Values<typeof zvhd2Header>

export const FEATURES = 2
export const VERSION = 0x00010000
export const NO_DATA_OFFSET = 0xffff_ffff_ffff_ffffn
export const CREATOR = 'tap\0'
export const CREATOR_VERSION = 0x00010004
export const DISK_TYPE = 4
export const SIZE_STEP = GiB
export const CHECKSUMMED_BYTES = 512

export const BLOCK_SIZE = 2 * MiB
export const MAX_PAYLOAD = 4 * MiB

export const RECORD_COOKIE = 'hwstream bg\0'
export const RECORD_END = 'end\0'
export const RECORD_HEADER_SIZE = 48
export const RECORD_ALIGNMENT = 4096
/** All payloads together are one zlib stream: its header opens the first. */
export const ZLIB_HEADER_SIZE = 2

export const recordHeader = struct('ZVHD record', RECORD_HEADER_SIZE, {
  cookie: [0, text(12)],
  payloadSize: [12, u32le],
  block: [16, u32le],
})

/** Bytes of a record on disk: header, payload, padding, and the end mark as the last four. */
export function recordSize(payloadSize: number): number {
  const used = RECORD_HEADER_SIZE + payloadSize + RECORD_END.length
  return Math.ceil(used / RECORD_ALIGNMENT) * RECORD_ALIGNMENT
}

export const Compression = { zlib: 0, zstd: 1 } as const
export const ZVHD2_VERSION = 1
export const INDEX_SEGMENT_SIZE = 512 * KiB
export const BITMAP_SEGMENT_SIZE = 4 * KiB
/** Blocks that one segment of the index, or of the bitmap, covers. */
export const BLOCKS_PER_SEGMENT = 32768

/** Of each stored block, in ascending order. */
export const indexEntry = struct('ZVHD2 index entry', 16, {
  offset: [0, size64le],
  block: [8, u32le],
  recordSize: [12, u32le],
})

export function checksum(header: Uint8Array): number {
  return complementSum(header.subarray(0, CHECKSUMMED_BYTES), zvhdHeader.offsetOf('checksum'))
}

/** Cylinders, heads and sectors in 32 bits. */
export function packedGeometry(size: number): number {
  const { cylinders, heads, sectorsPerTrack } = geometryOf(size)
  return ((cylinders << 16) | (heads << 8) | sectorsPerTrack) >>> 0
}
