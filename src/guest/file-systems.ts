import { KiB } from '../bytes/units.ts'

/** What a run of guest bytes begins with, by its magic: a file system, or what stands in the place of one. */
export interface FileSystem {
  /** By the name that `blkid` gives it: `ext4`, `xfs`, `LVM2_member`. */
  readonly type: string
  /** The name that its owner gave it. */
  readonly label?: string
}

/** Bytes from its first on that tell what it is: btrfs keeps its superblock deepest. */
export const FILE_SYSTEM_HEAD = 68 * KiB

interface Signature {
  readonly type: string
  /** Bytes from the start. */
  readonly offset: number
  readonly magic: string
  readonly label?: readonly [offset: number, length: number]
}

/** Containers come first: what is inside them may show through. */
const SIGNATURES: readonly Signature[] = [
  { type: 'crypto_LUKS', offset: 0, magic: 'LUKS\xba\xbe' },
  { type: 'BitLocker', offset: 3, magic: '-FVE-FS-' },
  ...[0, 1, 2, 3].map((sector) => ({ type: 'LVM2_member', offset: sector * 512 + 24, magic: 'LVM2 001' })),
  { type: 'linux_raid_member', offset: 4096, magic: '\xfc\x4e\x2b\xa9' },
  { type: 'xfs', offset: 0, magic: 'XFSB', label: [108, 12] },
  { type: 'btrfs', offset: 0x10040, magic: '_BHRfS_M', label: [0x1012b, 256] },
  { type: 'swap', offset: 4086, magic: 'SWAPSPACE2', label: [1052, 16] },
  { type: 'ntfs', offset: 3, magic: 'NTFS    ' },
  { type: 'exfat', offset: 3, magic: 'EXFAT   ' },
  { type: 'vfat', offset: 82, magic: 'FAT32   ', label: [71, 11] },
  { type: 'vfat', offset: 54, magic: 'FAT16   ', label: [43, 11] },
  { type: 'vfat', offset: 54, magic: 'FAT12   ', label: [43, 11] },
  { type: 'squashfs', offset: 0, magic: 'hsqs' },
  { type: 'iso9660', offset: 0x8001, magic: 'CD001', label: [0x8028, 32] },
]

/** Tells a file system by its first `FILE_SYSTEM_HEAD` bytes, or as many as there are. Undefined for what is not known. */
export function recogniseFileSystem(head: Buffer): FileSystem | undefined {
  const found = SIGNATURES.find(({ offset, magic }) => textAt(head, offset, magic.length) === magic)
  if (found !== undefined) return named(found.type, head, found.label)
  const type = extType(head)
  return type === undefined ? undefined : named(type, head, [EXT + 120, 16])
}

function textAt(head: Buffer, offset: number, length: number): string {
  return head.toString('latin1', offset, offset + length)
}

/** The superblock of ext2, ext3 and ext4. */
const EXT = 1024
const EXT_MAGIC = 0xef53
const HAS_JOURNAL = 0x4
/** Extents, 64bit, flex_bg: only ext4 has them. */
const EXT4_INCOMPATIBLE = 0x40 | 0x80 | 0x200

/** The three share a magic; features set them apart. */
function extType(head: Buffer): string | undefined {
  if (head.length < EXT + 136 || head.readUInt16LE(EXT + 56) !== EXT_MAGIC) return undefined
  if ((head.readUInt32LE(EXT + 96) & EXT4_INCOMPATIBLE) !== 0) return 'ext4'
  return (head.readUInt32LE(EXT + 92) & HAS_JOURNAL) === 0 ? 'ext2' : 'ext3'
}

const NO_LABELS = new Set(['NO NAME'])

function named(type: string, head: Buffer, place: Signature['label']): FileSystem {
  if (place === undefined) return { type }
  const [offset, length] = place
  const bytes = head.subarray(offset, offset + length)
  const end = bytes.indexOf(0)
  const label = bytes.toString('utf8', 0, end < 0 ? bytes.length : end).trimEnd()
  return label === '' || NO_LABELS.has(label) ? { type } : { type, label }
}
