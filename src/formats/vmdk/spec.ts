/**
 * VMware "Virtual Disk Format 5.0"; the extents of ESX (COWD) also by its header in open-vmdk, and seSparse, which no
 * specification describes, as QEMU (block/vmdk.c) and open-vmdk know it. All integers little-endian. Offsets and sizes
 * are in sectors of 512 bytes, unless a field says otherwise.
 */
import { raw, struct, text, u8, u16le, u32le, u64le, type Values } from '../../bytes/struct.ts'
import { MiB, SECTOR, TiB } from '../../bytes/units.ts'

/** "KDMV" as the file has it. */
export const SPARSE_MAGIC = 0x564d444b
/** "Hosted Sparse Extents". Extents of streamOptimized disks have the same header. */
export const sparseHeader = struct('VMDK sparse header', SECTOR, {
  magic: [0, u32le],
  version: [4, u32le],
  flags: [8, u32le],
  /** Of this extent; 0 says that only the embedded descriptor counts. */
  capacity: [12, u64le],
  grainSize: [20, u64le],
  /** Of the embedded descriptor; 0 when there is none. */
  descriptorOffset: [28, u64le],
  descriptorSize: [36, u64le],
  /** Entries of a grain table. */
  gtesPerGt: [44, u32le],
  /** Of the redundant grain directory. */
  rgdOffset: [48, u64le],
  /** Of the grain directory; all ones says that the footer knows. */
  gdOffset: [56, u64le],
  /** Sectors before the first grain. */
  overHead: [64, u64le],
  uncleanShutdown: [72, u8],
  /** `NEWLINE_TEST`, to notice a transfer as text. */
  newlineTest: [73, text(4)],
  compressAlgorithm: [77, u16le],
})
export type SparseHeader = Values<typeof sparseHeader>

export const VERSIONS = [1, 2, 3] as const
export const GD_AT_END = 0xffff_ffff_ffff_ffffn
export const NEWLINE_TEST = '\n \r\n'
export const CompressAlgorithm = { none: 0, deflate: 1 } as const

/** Bits of `flags`. An unknown one from bit 16 on must not be opened; those below may be ignored. */
export const Flag = {
  newlineTest: 1 << 0,
  redundantTable: 1 << 1,
  /** A grain table's entry of 1 says that the grain is zero. */
  zeroGrains: 1 << 2,
  compressed: 1 << 16,
  /** Grains and tables follow markers. */
  markers: 1 << 17,
} as const
export const INCOMPATIBLE_FLAGS = 0xffff_0000
/** Flags worth telling, in the specification's words. */
export const FLAG_NAMES: Readonly<Record<number, string>> = {
  [Flag.redundantTable]: 'redundant grain table',
  [Flag.zeroGrains]: 'zeroed-grain table entries',
  [Flag.compressed]: 'compressed grains',
  [Flag.markers]: 'markers',
}

/** "Grain Marker": the packed grain follows at once. The LBA is a sector of the disk, the size is in bytes. */
export const grainMarker = struct('VMDK grain marker', 12, { lba: [0, u64le], size: [8, u32le] })
/** "Metadata Markers": one sector; what it announces begins with the next one. */
export const metadataMarker = struct('VMDK marker', SECTOR, {
  /** Sectors of what follows. */
  sectors: [0, u64le],
  /** 0: this is no grain. */
  size: [8, u32le],
  type: [12, u32le],
})
export const MarkerType = { endOfStream: 0, grainTable: 1, grainDirectory: 2, footer: 3 } as const

/** Directories and tables of hosted sparse and COWD extents hold sectors; 0 says "not stored". */
export const ENTRY_SIZE = 4
/** With `Flag.zeroGrains`. */
export const ZERO_GRAIN = 1
/** "512 entries" and no more, so that a table is 2 KiB. */
export const MAX_GTES_PER_GT = 512
export const DEFAULT_GRAIN_SIZE = 128 * SECTOR
/** Ours: far above what any tool writes, and small enough that one grain is a reasonable piece of work. */
export const MAX_GRAIN_SIZE = 16 * MiB
/** The largest disk of any VMware product is 62 TB. */
export const MAX_DISK_SIZE = 64 * TiB

/** The descriptor: text, whose extents are in sectors. */
export const MAX_DESCRIPTOR_SIZE = MiB
/** Ours: all extents that there may be, with three lines each to spare. */
export const MAX_DESCRIPTOR_LINES = 16384
/** Ours: 8 TiB in extents of 2 GiB. Each of them is a file to be held open. */
export const MAX_EXTENTS = 4096
export const NO_PARENT_CID = 0xffffffff

/** "COWD" as the file has it. */
export const COWD_MAGIC = 0x44574f43
/** "ESX Server Sparse Extents". */
export const cowdHeader = struct('COWD header', 2048, {
  magic: [0, u32le],
  version: [4, u32le],
  flags: [8, u32le],
  capacity: [12, u32le],
  grainSize: [16, u32le],
  gdOffset: [20, u32le],
  gdEntries: [24, u32le],
  freeSector: [28, u32le],
  generation: [1060, u32le],
  name: [1064, raw(60)],
  description: [1124, raw(512)],
  savedGeneration: [1636, u32le],
  uncleanShutdown: [1648, u32le],
})
export const COWD_VERSION = 1
export const COWD_GTES_PER_GT = 4096

export const SESPARSE_MAGIC = 0xcafebaben
export const SESPARSE_VOLATILE_MAGIC = 0xcafecafen
/** 2.1: the only one seen. */
export const SESPARSE_VERSION = 0x0000_0002_0000_0001n
export const SESPARSE_GRAIN_SECTORS = 8
export const SESPARSE_TABLE_SECTORS = 64
export const SESPARSE_ENTRY_SIZE = 8

/** What does not change while the disk is used. Each area of the file is a pair of offset and size. */
export const seSparseHeader = struct('seSparse header', SECTOR, {
  magic: [0, u64le],
  version: [8, u64le],
  capacity: [16, u64le],
  grainSize: [24, u64le],
  grainTableSize: [32, u64le],
  flags: [40, u64le],
  volatileHeaderOffset: [80, u64le],
  volatileHeaderSize: [88, u64le],
  journalHeaderOffset: [96, u64le],
  journalHeaderSize: [104, u64le],
  journalOffset: [112, u64le],
  journalSize: [120, u64le],
  grainDirectoryOffset: [128, u64le],
  grainDirectorySize: [136, u64le],
  grainTablesOffset: [144, u64le],
  grainTablesSize: [152, u64le],
  freeBitmapOffset: [160, u64le],
  freeBitmapSize: [168, u64le],
  backMapOffset: [176, u64le],
  backMapSize: [184, u64le],
  grainsOffset: [192, u64le],
  grainsSize: [200, u64le],
})
export type SeSparseHeader = Values<typeof seSparseHeader>

export const seSparseVolatileHeader = struct('seSparse volatile header', SECTOR, {
  magic: [0, u64le],
  freeGtNumber: [8, u64le],
  nextTxnSeqNumber: [16, u64le],
  /** Not 0: the tables are whole only once the journal has been replayed. */
  replayJournal: [24, u64le],
})

/**
 * seSparse entries are 64 bits, read as two halves: `high` holds bits 32..63, `low` bits 0..31. Bits 60..63 are the
 * type. A directory's entry of type 1 is the number of a table, in bits 0..31.
 */
export const SeSparseTable = { none: 0, allocated: 1 } as const
export const SeSparseGrain = { none: 0, unmapped: 1, zero: 2, allocated: 3 } as const
const HIGH = 2 ** 32

export function seSparseType(high: number): number {
  return high >>> 28
}

/** The number of a stored grain: its bits 0..11 are the entry's bits 48..59, its bits 12..59 the entry's bits 0..47. */
export function seSparseGrain(high: number, low: number): number {
  return ((high & 0xffff) * HIGH + low) * 4096 + ((high & 0x0fff_0000) >>> 16)
}
