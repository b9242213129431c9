import { DiskferryError, malformed, tooLarge } from '../../bytes/errors.ts'
import { readClipped, type Source } from '../../io/source.ts'
import { checksumFault, damaged, type Found } from './header.ts'
import {
  MAX_REGIONS,
  REGION_ALIGNMENT,
  REGION_SIGNATURE,
  REGION_TABLE_OFFSETS,
  REGION_TABLE_SIZE,
  Region,
  regionEntry,
  regionTableHeader,
} from './spec.ts'

/** A run of the file, in bytes. */
export interface Place {
  readonly offset: number
  readonly length: number
}

export interface Regions {
  readonly bat: Place
  readonly metadata: Place
}

/** 2.2.3: of the two region tables the first, or its copy when it is damaged. */
export async function readRegions(source: Source): Promise<Found<Regions>> {
  const [at, copyAt] = REGION_TABLE_OFFSETS
  const first = await readTable(source, at)
  if (typeof first !== 'string') return { value: decodeRegions(first, at), warnings: [] }
  const second = await readTable(source, copyAt)
  if (typeof second === 'string') {
    throw malformed('no VHDX region table is whole', { found: `${first}; ${second}`, expected: 'one', offset: at })
  }
  return { value: decodeRegions(second, copyAt), warnings: [damaged('first', first, 'region table')] }
}

/** The table at `offset`, or what is wrong with it. */
async function readTable(source: Source, offset: number): Promise<Uint8Array | string> {
  const bytes = await readClipped(source, offset, REGION_TABLE_SIZE)
  if (bytes.length < REGION_TABLE_SIZE) return `only ${bytes.length} bytes`
  const { signature, checksum } = regionTableHeader.decode(bytes)
  if (signature !== REGION_SIGNATURE) return 'no signature'
  return checksumFault(bytes, checksum, regionTableHeader.offsetOf('checksum')) ?? bytes
}

function decodeRegions(table: Uint8Array, base: number): Regions {
  const { entryCount } = regionTableHeader.decode(table)
  if (entryCount > MAX_REGIONS) {
    throw tooLarge('VHDX regions', { found: entryCount, expected: `at most ${MAX_REGIONS}`, offset: base + 8 })
  }
  const places = new Map<string, Place>()
  for (let i = 0; i < entryCount; i++) {
    const at = regionTableHeader.size + i * regionEntry.size
    const { id, offset, length, required } = regionEntry.decode(table, at)
    if (places.has(id)) throw malformed('VHDX region', { found: `${id} twice`, expected: 'once', offset: base + at })
    if (id === Region.bat || id === Region.metadata) places.set(id, placeOf(offset, length, base + at))
    else if (required & 1) throw unknownRegion(id, base + at)
  }
  const regions = { bat: needed(places, 'bat', base), metadata: needed(places, 'metadata', base) }
  assertApart(regions, base)
  return regions
}

function placeOf(offset: bigint, length: number, at: number): Place {
  const isAligned = offset % BigInt(REGION_ALIGNMENT) === 0n && length % REGION_ALIGNMENT === 0
  if (isAligned && offset > 0n && offset <= BigInt(Number.MAX_SAFE_INTEGER)) return { offset: Number(offset), length }
  throw malformed('VHDX region', { found: `${length} bytes at ${offset}`, expected: 'multiples of 1 MiB', offset: at })
}

function needed(places: ReadonlyMap<string, Place>, name: keyof Regions, offset: number): Place {
  const place = places.get(Region[name])
  if (place !== undefined) return place
  throw malformed('VHDX region table', { found: `no ${name} region`, expected: 'one', offset })
}

function assertApart({ bat, metadata }: Regions, offset: number): void {
  if (bat.offset + bat.length <= metadata.offset || metadata.offset + metadata.length <= bat.offset) return
  const found = `BAT at ${bat.offset}, metadata at ${metadata.offset}`
  throw malformed('VHDX regions', { found, expected: 'regions that do not overlap', offset })
}

function unknownRegion(id: string, offset: number): DiskferryError {
  const detail = { found: id, expected: 'the BAT and metadata regions', offset }
  return new DiskferryError('unsupported-feature', `the VHDX requires a region that is not known: ${id}`, detail)
}
