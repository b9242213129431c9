import { malformed } from '../../bytes/errors.ts'
import { SECTOR } from '../../bytes/units.ts'
import {
  ENTRY_SIZE,
  SESPARSE_ENTRY_SIZE,
  SeSparseGrain,
  SeSparseTable,
  seSparseGrain,
  seSparseType,
  ZERO_GRAIN,
} from './spec.ts'

/** Not stored here: zero, or in the parent. */
export const NOT_STORED = 0
/** Stated to be zero. */
export const ZERO = -1

/** How one kind of extent writes the entries of its grain directory and of its grain tables. */
export interface Entries {
  /** Bytes of one entry. */
  readonly size: number
  /** Byte offset of the table that the entry at `at` refers to, `NOT_STORED` or `ZERO`. `offset` is for messages. */
  table(directory: Buffer, at: number, offset: number): number
  /** Byte offset of the grain, `NOT_STORED` or `ZERO`. */
  grain(table: Buffer, at: number, offset: number): number
}

/** "Grain Directory", "Grain Table": 32-bit sectors. */
export function sectorEntries(hasZeroGrains: boolean): Entries {
  const decode = (bytes: Buffer, at: number, offset: number): number => {
    const sector = bytes.readUInt32LE(at)
    if (sector !== ZERO_GRAIN) return sector * SECTOR
    if (hasZeroGrains) return ZERO
    throw malformed('VMDK grain', { found: 'sector 1', expected: 'the flag that gives it a meaning', offset })
  }
  return { size: ENTRY_SIZE, table: decode, grain: decode }
}

/** Where the areas of a seSparse extent lie, in bytes. */
export interface SeSparseAreas {
  readonly tables: number
  readonly tableSize: number
  readonly grains: number
  readonly grainSize: number
}

export function seSparseEntries({ tables, tableSize, grains, grainSize }: SeSparseAreas): Entries {
  return {
    size: SESPARSE_ENTRY_SIZE,
    table(directory, at, offset) {
      const low = directory.readUInt32LE(at)
      const high = directory.readUInt32LE(at + 4)
      if (high === 0 && low === 0) return NOT_STORED
      if (high === (SeSparseTable.allocated << 28) >>> 0) return tables + low * tableSize
      throw unknownEntry('seSparse grain directory', high, low, offset)
    },
    grain(table, at, offset) {
      const low = table.readUInt32LE(at)
      const high = table.readUInt32LE(at + 4)
      switch (seSparseType(high)) {
        case SeSparseGrain.allocated:
          return grains + seSparseGrain(high, low) * grainSize
        case SeSparseGrain.zero:
        case SeSparseGrain.unmapped:
          return ZERO
        case SeSparseGrain.none:
          if (high === 0 && low === 0) return NOT_STORED
      }
      throw unknownEntry('seSparse grain table', high, low, offset)
    },
  }
}

function unknownEntry(what: string, high: number, low: number, offset: number): Error {
  const found = `0x${high.toString(16).padStart(8, '0')}${low.toString(16).padStart(8, '0')}`
  return malformed(`${what} entry`, { found, expected: 'an entry of a known type', offset })
}
