import { size64le, struct, text, u32le, type Values } from '../../bytes/struct.ts'
import { MiB, TiB } from '../../bytes/units.ts'

/* Parallels expandable disk: QEMU's docs/interop/parallels.txt. All integers are little-endian. */

/** Older images count places in sectors and have 32 bits for the disk's size. */
export const MAGIC_OLD = 'WithoutFreeSpace'
/** Newer ones count places in clusters. */
export const MAGIC = 'WithouFreSpacExt'

export const header = struct('Parallels header', 64, {
  magic: [0, text(16)],
  version: [16, u32le],
  heads: [20, u32le],
  cylinders: [24, u32le],
  /** Sectors in a cluster. */
  clusterSectors: [28, u32le],
  batEntries: [32, u32le],
  /** Sectors of the disk; in older images only the lower half counts. */
  diskSectors: [36, size64le],
  inUse: [44, u32le],
  /** Sectors in front of the data; 0 in older images: then data begins behind the table. */
  dataOffset: [48, u32le],
  flags: [52, u32le],
  /** Sector of the format extension, which holds bitmaps and such; 0 for none. */
  extensionOffset: [56, size64le],
})
export type Header = Values<typeof header>

export const VERSION = 2
/** Someone had the image open for writing, and has not closed it. */
export const IN_USE = 0x746f6e59

/** Block allocation table: where each cluster lies, behind the header. */
export const BAT_OFFSET = header.size
export const BAT_ENTRY_SIZE = 4
/** Never written: reads as zeros. */
export const UNALLOCATED = 0

/** Ours: tools write clusters of 1 MiB. */
export const MAX_CLUSTER_SIZE = 256 * MiB
/** Ours: far above what the newer format's 32-bit places can reach in clusters of 1 MiB. */
export const MAX_DISK_SIZE = 4096 * TiB
