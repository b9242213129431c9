/**
 * QEMU, docs/interop/qcow2.rst. All integers big-endian.
 */
import { size64be, struct, u8, u32be, u64be, type Values } from '../../bytes/struct.ts'
import { KiB, MiB } from '../../bytes/units.ts'

export const MAGIC = 0x514649fb

const v2Fields = {
  magic: [0, u32be],
  version: [4, u32be],
  backingFileOffset: [8, size64be],
  backingFileSize: [16, u32be],
  clusterBits: [20, u32be],
  /** Virtual disk size in bytes. */
  size: [24, size64be],
  cryptMethod: [32, u32be],
  /** Number of entries in the active L1 table. */
  l1Size: [36, u32be],
  l1TableOffset: [40, size64be],
  refcountTableOffset: [48, size64be],
  refcountTableClusters: [56, u32be],
  nbSnapshots: [60, u32be],
  snapshotsOffset: [64, size64be],
} as const

/** "Header", version 2: 72 bytes, without feature fields. */
export const headerV2 = struct('qcow2 header', 72, v2Fields)

/** "Header", version 3: at least 104 bytes. */
export const headerV3 = struct('qcow2 header', 104, {
  ...v2Fields,
  incompatibleFeatures: [72, u64be],
  compatibleFeatures: [80, u64be],
  autoclearFeatures: [88, u64be],
  refcountOrder: [96, u32be],
  headerLength: [100, u32be],
})
export type Header = Values<typeof headerV3>

/** "Additional fields": present when the header's length says so. */
export const compressionTypeField = { offset: 104, type: u8 } as const
export const CompressionType = { deflate: 0, zstd: 1 } as const

/** Bits of `incompatibleFeatures`. An unknown one must not be opened. */
export const Incompatible = {
  0: 'dirty',
  1: 'corrupt',
  2: 'external data file',
  3: 'compression type',
  4: 'extended L2 entries',
} as const
export const DIRTY = 1n << 0n
export const CORRUPT = 1n << 1n
export const EXTERNAL_DATA_FILE = 1n << 2n
export const COMPRESSION_TYPE = 1n << 3n
export const EXTENDED_L2 = 1n << 4n

export const CRYPT_METHODS: Readonly<Record<number, string>> = { 1: 'AES', 2: 'LUKS' }

/** "Header extensions": type, length, data padded to 8 bytes. */
export const headerExtension = struct('qcow2 header extension', 8, { type: [0, u32be], length: [4, u32be] })
export const ExtensionType = {
  end: 0,
  backingFormat: 0xe2792aca,
  featureNames: 0x6803f857,
  dataFile: 0x44415441,
} as const

export const MIN_CLUSTER_BITS = 9
export const MAX_CLUSTER_BITS = 21
export const MAX_REFCOUNT_ORDER = 6
export const MAX_BACKING_FILE_NAME = 1023
/** Ours: the specification knows six. Empty ones would fill a cluster with hundreds of thousands. */
export const MAX_HEADER_EXTENSIONS = 256
/** QEMU's own limits (block/qcow2.h, QCOW_MAX_L1_SIZE, QCOW_MAX_REFTABLE_SIZE): bounds for what is read of a table. */
export const MAX_L1_BYTES = 32 * MiB
export const MAX_REFCOUNT_TABLE_BYTES = 8 * MiB

export const ENTRY_SIZE = 8
/** "Extended L2 Entries": a standard entry, then 32 bits of zero and 32 bits of allocation state. */
export const EXTENDED_ENTRY_SIZE = 16
export const SUBCLUSTERS = 32
export const MIN_EXTENDED_CLUSTER_BITS = 14
export const DEFAULT_CLUSTER_SIZE = 64 * KiB
/** Refcounts are written 16 bits wide, the default and version 2's only width. */
export const REFCOUNT_ORDER = 4
export const REFCOUNT_SIZE = 2

/**
 * L1 and L2 entries are 64 bits, read as two halves: `high` holds bits 32..63, `low` bits 0..31.
 *
 * - bit 63, "copied": refcount is exactly one
 * - bit 62, compressed (L2 only)
 * - bits 9..55, host offset of the table or cluster
 * - bit 0, reads as zeros (standard L2 entry, version 3)
 */
const OFFSET_HIGH = 0x00ff_ffff
const OFFSET_LOW = 0xffff_fe00
const COMPRESSED_HIGH = 0x4000_0000
const COPIED_HIGH = 0x8000_0000
const ZERO_LOW = 1
const HIGH = 2 ** 32

/** Bits 9..55: host offset in bytes; 0 says "not allocated". */
export function hostOffset(high: number, low: number): number {
  return (high & OFFSET_HIGH) * HIGH + ((low & OFFSET_LOW) >>> 0)
}

/** Bit 63. */
export function isCopied(high: number): boolean {
  return (high & COPIED_HIGH) !== 0
}

/** Bit 62 of an L2 entry. */
export function isCompressed(high: number): boolean {
  return (high & COMPRESSED_HIGH) !== 0
}

/** Bit 0 of a standard L2 entry. */
export function isZeroCluster(low: number): boolean {
  return (low & ZERO_LOW) !== 0
}

/** Writes an L1 or L2 entry for something that is referred to once. */
export function writeCopiedEntry(into: Buffer, at: number, host: number): void {
  into.writeUInt32BE((COPIED_HIGH | Math.floor(host / HIGH)) >>> 0, at)
  into.writeUInt32BE(host % HIGH, at + 4)
}

/**
 * "Compressed Clusters Descriptor": with x = 62 - (cluster_bits - 8), bits 0..x-1 are the host offset in bytes and
 * bits x..61 the number of *additional* 512-byte sectors. The data ends somewhere in the last of them.
 */
export function compressedPlace(high: number, low: number, clusterBits: number): { host: number; length: number } {
  const highBits = 62 - (clusterBits - 8) - 32
  const host = (high & (2 ** highBits - 1)) * HIGH + low
  const sectors = (high & 0x3fff_ffff) >>> highBits
  return { host, length: (sectors + 1) * 512 - (host % 512) }
}

/** Writes the descriptor of a compressed cluster of `length` bytes at byte `host`. Bit 63 is 0: it is never "copied". */
export function writeCompressedEntry(
  into: Buffer,
  at: number,
  host: number,
  length: number,
  clusterBits: number,
): void {
  const highBits = 62 - (clusterBits - 8) - 32
  const sectors = Math.ceil(((host % 512) + length) / 512) - 1
  into.writeUInt32BE((COMPRESSED_HIGH | (sectors << highBits) | Math.floor(host / HIGH)) >>> 0, at)
  into.writeUInt32BE(host % HIGH, at + 4)
}
