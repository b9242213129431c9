/**
 * VirtualBox Disk Image, version 1.1, as VirtualBox (VDICore.h) and QEMU (block/vdi.c) describe it. All integers
 * little-endian. Offsets and sizes are in bytes.
 */
import { raw, size64le, struct, text, u32le, type Values } from '../../bytes/struct.ts'
import { MiB, SECTOR } from '../../bytes/units.ts'

export const SIGNATURE = 0xbeda107f
export const SIGNATURE_OFFSET = 64

/** Text for people, the signature, and the header proper. */
export const header = struct('VDI header', 512, {
  text: [0, text(64)],
  signature: [SIGNATURE_OFFSET, u32le],
  /** Major in the upper half, minor in the lower. */
  version: [68, u32le],
  /** Counts from this field on: 400 with the geometry that the guest's BIOS showed, 384 without. */
  headerSize: [72, u32le],
  type: [76, u32le],
  flags: [80, u32le],
  description: [84, raw(256)],
  mapOffset: [340, u32le],
  dataOffset: [344, u32le],
  sectorSize: [360, u32le],
  diskSize: [368, size64le],
  blockSize: [376, u32le],
  /** Bytes that lie before the data of each block. */
  blockExtra: [380, u32le],
  blocks: [384, u32le],
  blocksAllocated: [388, u32le],
  uuid: [392, raw(16)],
  lastSnapshot: [408, raw(16)],
  /** The parent, in a differencing image. */
  parent: [424, raw(16)],
  parentModification: [440, raw(16)],
})
export type Header = Values<typeof header>

export const VERSION = 0x00010001
export const ImageType = { dynamic: 1, fixed: 2, undo: 3, differencing: 4 } as const

/** The block map holds a block's number in the file, or one of two words. */
export const MAP_ENTRY_SIZE = 4
/** Never written: zero, or in the parent. */
export const BLOCK_FREE = 0xffffffff
export const BLOCK_ZERO = 0xfffffffe

export const MIN_BLOCK_SIZE = SECTOR
/** Ours: far above what any tool writes (1 MiB), and small enough that one block is a reasonable piece of work. */
export const MAX_BLOCK_SIZE = 256 * MiB
/** QEMU's own limit: so many blocks of 1 MiB. */
export const MAX_DISK_SIZE = 0x3fffffff * MiB
/** Ours: nobody has been seen to use any. */
export const MAX_BLOCK_EXTRA = MiB
