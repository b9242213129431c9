import { DiskferryError, malformed, tooLarge, truncated } from '../../bytes/errors.ts'
import { SECTOR } from '../../bytes/units.ts'
import { readClipped, type Source } from '../../io/source.ts'
import {
  BAT_ENTRY_SIZE,
  BAT_OFFSET,
  type Header,
  header,
  MAGIC,
  MAGIC_OLD,
  MAX_CLUSTER_SIZE,
  MAX_DISK_SIZE,
  VERSION,
} from './spec.ts'

/** What the header says, in bytes. */
export interface Geometry {
  readonly fields: Header
  readonly clusterSize: number
  readonly diskSize: number
  /** Bytes that one step in a table's entry stands for. */
  readonly entryUnit: number
}

/** Reads the header; each size has been held against its limit and against the file's length. */
export async function readHeader(source: Source): Promise<Geometry> {
  const fields = header.decode(await readClipped(source, 0, header.size))
  const { magic, version, clusterSectors, diskSectors } = fields
  if (magic !== MAGIC && magic !== MAGIC_OLD) {
    throw malformed('Parallels magic', { found: magic, expected: `${MAGIC} or ${MAGIC_OLD}`, offset: at('magic') })
  }
  if (version !== VERSION) {
    const detail = { found: version, expected: VERSION, offset: at('version') }
    throw new DiskferryError('unsupported-feature', `Parallels version ${version} can't be read`, detail)
  }
  const isOld = magic === MAGIC_OLD
  const clusterSize = clusterSectors * SECTOR
  const diskSize = (isOld ? diskSectors % 2 ** 32 : diskSectors) * SECTOR
  const geometry = { fields, clusterSize, diskSize, entryUnit: isOld ? SECTOR : clusterSize }
  assertSizes(geometry)
  assertTable(geometry, source.size)
  return geometry
}

function assertSizes({ clusterSize, diskSize }: Geometry): void {
  if (clusterSize === 0) {
    throw malformed('Parallels cluster size', {
      found: 0,
      expected: 'at least one sector',
      offset: at('clusterSectors'),
    })
  }
  if (clusterSize > MAX_CLUSTER_SIZE) {
    const detail = { found: clusterSize, expected: `at most ${MAX_CLUSTER_SIZE}`, offset: at('clusterSectors') }
    throw tooLarge('Parallels cluster size', detail)
  }
  if (diskSize > MAX_DISK_SIZE) {
    const detail = { found: diskSize, expected: `at most ${MAX_DISK_SIZE}`, offset: at('diskSectors') }
    throw tooLarge('Parallels disk size', detail)
  }
}

/** The table must cover the disk, and lie in the file. Nothing of it is read here. */
function assertTable({ fields, clusterSize, diskSize }: Geometry, fileSize: number): void {
  const needed = Math.ceil(diskSize / clusterSize)
  if (fields.batEntries < needed) {
    const expected = `at least ${needed} for a disk of ${diskSize} bytes`
    throw malformed('Parallels table entries', { found: fields.batEntries, expected, offset: at('batEntries') })
  }
  const end = BAT_OFFSET + needed * BAT_ENTRY_SIZE
  if (end > fileSize) throw truncated('Parallels table', { found: fileSize, expected: end, offset: BAT_OFFSET })
}

function at(name: keyof Header): number {
  return header.offsetOf(name)
}
