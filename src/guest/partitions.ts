import { isDiskferryError } from '../bytes/errors.ts'
import { MiB } from '../bytes/units.ts'
import type { DiskImage } from '../formats/format.ts'
import { FILE_SYSTEM_HEAD, type FileSystem, recogniseFileSystem } from './file-systems.ts'
import { readGpt } from './gpt.ts'
import { readMbr } from './mbr.ts'
import { readGuest } from './read-guest.ts'

/** One partition. Offsets and lengths in guest bytes; they may lie beyond the disk. */
export interface Partition {
  /** As the guest counts them; logical ones of an MBR from 5 on. */
  readonly number: number
  readonly offset: number
  readonly length: number
  /** What the table says it is for. */
  readonly type: string
  /** The name that the table gives it. */
  readonly name?: string
  /** An extended partition: others lie in it. */
  readonly isContainer?: boolean
  /** It does not lie in the disk, or not whole. */
  readonly outside?: boolean
  /** What is in it, where that is known by its magic. */
  readonly fileSystem?: FileSystem
}

/** How the guest has divided its disk. */
export interface GuestContent {
  readonly scheme: 'gpt' | 'mbr' | 'none'
  readonly partitions: readonly Partition[]
  /** What the whole disk holds, where it has no partitions. */
  readonly fileSystem?: FileSystem
  /** What is odd, as sentences. */
  readonly notes: readonly string[]
}

/** Ours: partitions whose first bytes are looked at. */
const MOST_PARTITIONS = 256
/** Ours: how far into an image is looked that unpacks from its start. */
const MOST_UNPACKED = 64 * MiB

/**
 * Reads the partition table, and the first bytes of each partition. Some hundred KiB of guest data at most are read, and
 * whatever they say, it ends soon. Where the bytes can't be had, `notes` say why: that is no reason not to describe the image.
 */
export async function readGuestContent(image: DiskImage): Promise<GuestContent> {
  try {
    return await readTables(image)
  } catch (error) {
    if (!isDiskferryError(error)) throw error
    return { scheme: 'none', partitions: [], notes: [`what the guest keeps can't be read: ${error.message}`] }
  }
}

async function readTables(image: DiskImage): Promise<GuestContent> {
  const mbr = await readMbr(image)
  const gpt = mbr === undefined || mbr.isProtective ? await readGpt(image) : undefined
  if (gpt !== undefined) return { scheme: 'gpt', ...(await withFileSystems(image, gpt)) }
  const fileSystem = await fileSystemAt(image, 0)
  if (mbr === undefined || PASS_FOR_MBR.includes(fileSystem?.type ?? '')) {
    return { scheme: 'none', partitions: [], notes: [], ...(fileSystem && { fileSystem }) }
  }
  return { scheme: 'mbr', ...(await withFileSystems(image, mbr)) }
}

/** Their boot sectors may pass for a partition table. */
const PASS_FOR_MBR = ['vfat', 'ntfs', 'exfat', 'BitLocker']

type Table = Pick<GuestContent, 'partitions' | 'notes'>

async function withFileSystems(image: DiskImage, { partitions, notes }: Table): Promise<Table> {
  const looked: Partition[] = []
  for (const partition of partitions.slice(0, MOST_PARTITIONS)) {
    const fileSystem = partition.isContainer ? undefined : await fileSystemAt(image, partition.offset)
    looked.push({ ...partition, ...(fileSystem && { fileSystem }) })
  }
  return { partitions: looked, notes: [...notes, ...leftOut(partitions.length)] }
}

function leftOut(count: number): string[] {
  return count > MOST_PARTITIONS ? [`${count} partitions: those after the first ${MOST_PARTITIONS} are left out`] : []
}

async function fileSystemAt(image: DiskImage, offset: number): Promise<FileSystem | undefined> {
  const most = image.unpacksFromStart ? MOST_UNPACKED : image.virtualSize
  return offset < most ? recogniseFileSystem(await readGuest(image, offset, FILE_SYSTEM_HEAD)) : undefined
}
