import { DiskferryError, malformed, truncated } from '../../bytes/errors.ts'
import { SECTOR } from '../../bytes/units.ts'
import { readClipped, readExactly, type Source } from '../../io/source.ts'
import { sectorEntries, seSparseEntries } from './entries.ts'
import {
  assertDirectory,
  capacityOf,
  directoryEntries,
  grainSizeOf,
  type SparseExtent,
  sectorsToBytes,
} from './sparse-extent.ts'
import {
  COWD_GTES_PER_GT,
  COWD_MAGIC,
  COWD_VERSION,
  cowdHeader,
  SESPARSE_ENTRY_SIZE,
  SESPARSE_GRAIN_SECTORS,
  SESPARSE_MAGIC,
  SESPARSE_TABLE_SECTORS,
  SESPARSE_VERSION,
  SESPARSE_VOLATILE_MAGIC,
  type SeSparseHeader,
  seSparseHeader,
  seSparseVolatileHeader,
} from './spec.ts'

/** "ESX Server Sparse Extents". */
export async function readCowd(source: Source): Promise<SparseExtent> {
  const header = cowdHeader.decode(await readClipped(source, 0, cowdHeader.size))
  const place = (name: keyof typeof header) => ({ name: `COWD ${name}`, offset: cowdHeader.offsetOf(name) })
  if (header.magic !== COWD_MAGIC) {
    throw malformed('COWD magic', { found: header.magic, expected: COWD_MAGIC, offset: 0 })
  }
  if (header.version !== COWD_VERSION) throw unknown('COWD version', header.version, COWD_VERSION, place('version'))
  const extent = {
    title: 'COWD',
    source,
    capacity: capacityOf(BigInt(header.capacity), place('capacity')),
    grainSize: grainSizeOf(BigInt(header.grainSize), place('grainSize')),
    gtesPerGt: COWD_GTES_PER_GT,
    entries: sectorEntries(false),
    directory: header.gdOffset * SECTOR,
  }
  const needed = directoryEntries(extent)
  if (header.gdEntries < needed) {
    const { offset } = place('gdEntries')
    throw malformed('COWD grain directory entries', { found: header.gdEntries, expected: `at least ${needed}`, offset })
  }
  assertDirectory(extent, place('gdOffset'))
  return extent
}

/** seSparse, as ESXi writes it for snapshots. Only the sizes that it always has are read. */
export async function readSeSparse(source: Source): Promise<SparseExtent> {
  const header = seSparseHeader.decode(await readClipped(source, 0, seSparseHeader.size))
  assertSeSparse(header)
  await assertJournalDone(source, header)
  const grainSize = SESPARSE_GRAIN_SECTORS * SECTOR
  const tableSize = SESPARSE_TABLE_SECTORS * SECTOR
  const bytes = (name: keyof SeSparseHeader) => sectorsToBytes(header[name], placeOf(name))
  const entries = seSparseEntries({
    tables: bytes('grainTablesOffset'),
    tableSize,
    grains: bytes('grainsOffset'),
    grainSize,
  })
  const extent = {
    title: 'seSparse',
    source,
    capacity: capacityOf(header.capacity, placeOf('capacity')),
    grainSize,
    gtesPerGt: tableSize / SESPARSE_ENTRY_SIZE,
    entries,
    directory: bytes('grainDirectoryOffset'),
  }
  const needed = directoryEntries(extent) * SESPARSE_ENTRY_SIZE
  if (bytes('grainDirectorySize') < needed) {
    const { name, offset } = placeOf('grainDirectorySize')
    throw malformed(name, { found: bytes('grainDirectorySize'), expected: `at least ${needed} bytes`, offset })
  }
  assertDirectory(extent, placeOf('grainDirectoryOffset'))
  return extent
}

function assertSeSparse({ magic, version, flags, grainSize, grainTableSize }: SeSparseHeader): void {
  if (magic !== SESPARSE_MAGIC) {
    throw malformed('seSparse magic', { found: hex(magic), expected: hex(SESPARSE_MAGIC), offset: 0 })
  }
  const checks = [
    ['version', version, SESPARSE_VERSION],
    ['flags', flags, 0n],
    ['grainSize', grainSize, BigInt(SESPARSE_GRAIN_SECTORS)],
    ['grainTableSize', grainTableSize, BigInt(SESPARSE_TABLE_SECTORS)],
  ] as const
  for (const [name, found, expected] of checks) {
    if (found !== expected) throw unknown(placeOf(name).name, hex(found), hex(expected), placeOf(name))
  }
}

/** Until the journal has been replayed, the tables may be torn. */
async function assertJournalDone(source: Source, header: SeSparseHeader): Promise<void> {
  const offset = sectorsToBytes(header.volatileHeaderOffset, placeOf('volatileHeaderOffset'))
  if (offset + seSparseVolatileHeader.size > source.size) {
    const detail = { found: source.size, expected: offset + seSparseVolatileHeader.size }
    throw truncated('seSparse volatile header', { ...detail, offset: placeOf('volatileHeaderOffset').offset })
  }
  const { magic, replayJournal } = seSparseVolatileHeader.decode(
    await readExactly(source, offset, seSparseVolatileHeader.size),
  )
  if (magic !== SESPARSE_VOLATILE_MAGIC) {
    throw malformed('seSparse volatile header', { found: hex(magic), expected: hex(SESPARSE_VOLATILE_MAGIC), offset })
  }
  if (replayJournal === 0n) return
  throw new DiskferryError('unsupported-feature', 'the seSparse journal holds changes that are not in the tables yet', {
    found: String(replayJournal),
    expected: 0,
    offset: offset + seSparseVolatileHeader.offsetOf('replayJournal'),
    hint: 'let the host that wrote it open and close the disk once',
  })
}

function placeOf(name: keyof SeSparseHeader): { name: string; offset: number } {
  return { name: `seSparse ${name}`, offset: seSparseHeader.offsetOf(name) }
}

function unknown(
  what: string,
  found: string | number,
  expected: string | number,
  { offset }: { offset: number },
): DiskferryError {
  return new DiskferryError('unsupported-feature', `${what} ${found} is not known`, { found, expected, offset })
}

function hex(value: bigint): string {
  return `0x${value.toString(16)}`
}
