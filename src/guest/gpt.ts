import { crc32 } from 'node:zlib'
import { raw, struct, text, u32le, u64le, type Values } from '../bytes/struct.ts'
import { KiB } from '../bytes/units.ts'
import { isZero } from '../bytes/zeros.ts'
import type { DiskImage } from '../formats/format.ts'
import { partitionTypeName } from './partition-types.ts'
import type { Partition } from './partitions.ts'
import { readGuest } from './read-guest.ts'

/* GUID partition table: UEFI specification, section 5.3. */

const SIGNATURE = 'EFI PART'
/** Bytes of the header that its checksum covers. */
const HEADER_SIZE = 92

const header = struct('GPT header', HEADER_SIZE, {
  signature: [0, text(8)],
  headerSize: [12, u32le],
  headerCrc: [16, u32le],
  entriesAt: [72, u64le],
  entryCount: [80, u32le],
  entrySize: [84, u32le],
  entriesCrc: [88, u32le],
})
type Header = Values<typeof header>

const entry = struct('GPT entry', 128, {
  type: [0, raw(16)],
  firstSector: [32, u64le],
  lastSector: [40, u64le],
  name: [56, raw(72)],
})

/** Ours: tools write 128 entries of 128 bytes. */
const MOST_TABLE_BYTES = 256 * KiB
const SECTOR_SIZES = [512, 4096]

export interface Gpt {
  readonly partitions: Partition[]
  /** What is odd about the table, as sentences. */
  readonly notes: string[]
}

/** The table behind the first sector or, where that one is damaged, its copy in the last. Undefined without either. */
export async function readGpt(image: DiskImage): Promise<Gpt | undefined> {
  let damaged = false
  for (const sectorSize of SECTOR_SIZES) {
    const copy = image.unpacksFromStart ? 0 : image.virtualSize - sectorSize
    for (const at of [sectorSize, copy]) {
      const fields = at < sectorSize ? undefined : await readHeader(image, at)
      if (fields === undefined) continue
      const entries = fields === 'damaged' ? undefined : await readEntries(image, fields, sectorSize)
      if (fields === 'damaged' || entries === undefined) damaged = true
      else return { partitions: partitionsIn(image, entries, fields.entrySize, sectorSize), notes: notesOn(damaged) }
    }
  }
  return damaged ? { partitions: [], notes: ['the GPT and its copy are damaged'] } : undefined
}

function notesOn(damaged: boolean): string[] {
  return damaged ? ['the first GPT is damaged; this is its copy'] : []
}

async function readHeader(image: DiskImage, at: number): Promise<Header | 'damaged' | undefined> {
  const bytes = await readGuest(image, at, HEADER_SIZE)
  if (bytes.length < HEADER_SIZE || bytes.toString('latin1', 0, SIGNATURE.length) !== SIGNATURE) return undefined
  const fields = header.decode(bytes)
  // The checksum is reckoned with its own field zero. Longer headers exist in theory; no tool writes them.
  bytes.fill(0, header.offsetOf('headerCrc'), header.offsetOf('headerCrc') + 4)
  return fields.headerSize === HEADER_SIZE && crc32(bytes) === fields.headerCrc ? fields : 'damaged'
}

async function readEntries(image: DiskImage, fields: Header, sectorSize: number): Promise<Buffer | undefined> {
  const { entriesAt, entryCount, entrySize, entriesCrc } = fields
  const length = entryCount * entrySize
  const offset = Number(entriesAt) * sectorSize
  if (entrySize < entry.size || length > MOST_TABLE_BYTES || offset + length > image.virtualSize) return undefined
  const bytes = await readGuest(image, offset, length)
  return crc32(bytes) === entriesCrc ? bytes : undefined
}

function partitionsIn({ virtualSize }: DiskImage, entries: Buffer, entrySize: number, sectorSize: number): Partition[] {
  const found: Partition[] = []
  for (let at = 0; at + entrySize <= entries.length; at += entrySize) {
    const { type, firstSector, lastSector, name } = entry.decode(entries, at)
    if (isZero(type)) continue
    const offset = Number(firstSector) * sectorSize
    const length = (Number(lastSector) + 1) * sectorSize - offset
    const label = nameOf(name)
    found.push({
      number: at / entrySize + 1,
      offset,
      length: Math.max(0, length),
      type: partitionTypeName(guidOf(type)),
      ...(label !== '' && { name: label }),
      ...(offset + length > virtualSize && { outside: true }),
    })
  }
  return found
}

function nameOf(bytes: Uint8Array): string {
  const name = Buffer.from(bytes).toString('utf16le')
  const end = name.indexOf('\0')
  return end < 0 ? name : name.slice(0, end)
}

/** Its first three fields are little-endian integers. */
function guidOf(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes)
  hex.subarray(0, 4).reverse()
  hex.subarray(4, 6).reverse()
  hex.subarray(6, 8).reverse()
  return hex.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
}
