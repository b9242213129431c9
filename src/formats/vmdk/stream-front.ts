import { SECTOR } from '../../bytes/units.ts'
import { ENTRY_SIZE, ZERO_GRAIN } from './spec.ts'

export interface FrontTables {
  /** Offset of the grain directory. */
  readonly directory: number
  /** Entries of the directory. */
  readonly count: number
  readonly gtesPerGt: number
  /** Grains of the disk: a table's entries past the last one say nothing. */
  readonly grains: number
}

/**
 * How many grains the tables in front of the grains know of: a file without a footer shows in no other way that its end
 * is missing. Undefined when the tables lie elsewhere.
 */
export function frontTables(front: Buffer, { directory, count, gtesPerGt, grains }: FrontTables): number | undefined {
  if (directory === 0 || directory + count * ENTRY_SIZE > front.length) return undefined
  let stored = 0
  for (let index = 0; index < count; index++) {
    const table = front.readUInt32LE(directory + index * ENTRY_SIZE) * SECTOR
    if (table === 0) continue
    const entries = Math.min(gtesPerGt, grains - index * gtesPerGt)
    if (table + entries * ENTRY_SIZE > front.length) return undefined
    stored += countStored(front, table, entries)
  }
  return stored
}

/** Entries of a table that say where a grain is. */
export function countStored(bytes: Buffer, table: number, entries: number): number {
  let stored = 0
  for (let entry = 0; entry < entries; entry++) {
    if (bytes.readUInt32LE(table + entry * ENTRY_SIZE) > ZERO_GRAIN) stored += 1
  }
  return stored
}
