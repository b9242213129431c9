import { struct, u8, u16le, u32le, type Values } from '../bytes/struct.ts'
import { SECTOR } from '../bytes/units.ts'
import type { DiskImage } from '../formats/format.ts'
import { mbrTypeName } from './partition-types.ts'
import type { Partition } from './partitions.ts'
import { readGuest } from './read-guest.ts'

/* The classic partition table: four entries in the first sector, further ones in a chain of extended boot records. */

const ENTRIES_AT = 446
const ENTRY_COUNT = 4
const SIGNATURE_AT = 510
const SIGNATURE = 0xaa55

const entry = struct('MBR entry', 16, {
  status: [0, u8],
  type: [4, u8],
  firstSector: [8, u32le],
  sectors: [12, u32le],
})
type Entry = Values<typeof entry>

const bootSector = struct('boot sector', SECTOR, { signature: [SIGNATURE_AT, u16le] })

/** The whole disk, in an MBR that stands before a GPT. */
const PROTECTIVE = 0xee
const EXTENDED: readonly number[] = [0x05, 0x0f, 0x85]
/** Ours: a chain of boot records may be a ring. */
const MOST_LOGICAL = 128
const FIRST_LOGICAL = 5

export interface Mbr {
  readonly partitions: Partition[]
  readonly notes: string[]
  /** A GPT follows, or should. */
  readonly isProtective: boolean
}

/** The table in the first sector. Undefined when there is none: a boot sector of a file system has the signature too. */
export async function readMbr(image: DiskImage): Promise<Mbr | undefined> {
  const entries = await readEntries(image, 0)
  if (entries === undefined || !entries.every(isPlausible) || entries.every(isEmpty)) return undefined
  const partitions: Partition[] = []
  const notes: string[] = []
  for (const [index, fields] of entries.entries()) {
    if (isEmpty(fields)) continue
    partitions.push(partitionOf(image, index + 1, fields, 0))
    if (EXTENDED.includes(fields.type)) await addLogical(image, fields.firstSector, partitions, notes)
  }
  return { partitions, notes, isProtective: entries.some(({ type }) => type === PROTECTIVE) }
}

async function readEntries(image: DiskImage, sector: number): Promise<Entry[] | undefined> {
  const bytes = await readGuest(image, sector * SECTOR, SECTOR)
  if (bytes.length < SECTOR || bootSector.decode(bytes).signature !== SIGNATURE) return undefined
  return Array.from({ length: ENTRY_COUNT }, (_, index) => entry.decode(bytes, ENTRIES_AT + index * entry.size))
}

/** Code and texts of a file system's boot sector hardly ever pass for four entries. */
function isPlausible(fields: Entry): boolean {
  return (fields.status & 0x7f) === 0 && (isEmpty(fields) || fields.firstSector > 0)
}

function isEmpty({ type, sectors }: Entry): boolean {
  return type === 0 || sectors === 0
}

function partitionOf({ virtualSize }: DiskImage, number: number, fields: Entry, base: number): Partition {
  const offset = (base + fields.firstSector) * SECTOR
  const length = fields.sectors * SECTOR
  const type = mbrTypeName(fields.type)
  const outside = offset + length > virtualSize
  const isContainer = EXTENDED.includes(fields.type)
  return { number, offset, length, type, ...(isContainer && { isContainer }), ...(outside && { outside }) }
}

/** Each record holds one partition, counted from the record, and the next record, counted from the first of them. */
async function addLogical(image: DiskImage, first: number, partitions: Partition[], notes: string[]): Promise<void> {
  const seen = new Set<number>()
  for (let record = first; seen.size < MOST_LOGICAL; ) {
    if (seen.has(record)) return void notes.push('the chain of extended boot records is a ring')
    seen.add(record)
    const [own, next] = (await readEntries(image, record)) ?? []
    if (own === undefined || next === undefined) return void notes.push('an extended boot record is missing')
    if (!isEmpty(own)) partitions.push(partitionOf(image, FIRST_LOGICAL + seen.size - 1, own, record))
    if (isEmpty(next)) return
    record = first + next.firstSector
  }
  notes.push(`more than ${MOST_LOGICAL} logical partitions: the others are left out`)
}
