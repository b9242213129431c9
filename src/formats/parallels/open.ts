import { malformed, truncated } from '../../bytes/errors.ts'
import { readExactly, type Source } from '../../io/source.ts'
import { ExtentCollector, type ExtentRows, Kind } from '../extents.ts'
import type { DiskImage, ImageFacts } from '../format.ts'
import { type Geometry, readHeader } from './header.ts'
import { BAT_ENTRY_SIZE, BAT_OFFSET, IN_USE, UNALLOCATED } from './spec.ts'

/** Table entries read at once. */
const TABLE_BATCH = 16 * 1024

/** Opens an expandable Parallels disk. One disk in several files, and its snapshots, are a matter of other files. */
export async function open(source: Source): Promise<DiskImage> {
  const geometry = await readHeader(source)
  return {
    format: 'parallels',
    source,
    virtualSize: geometry.diskSize,
    facts: factsOf(geometry),
    extents: (start = 0, end = geometry.diskSize) => clusterExtents(source, geometry, start, end),
  }
}

function factsOf({ fields, clusterSize, entryUnit }: Geometry): ImageFacts {
  const wasInUse = fields.inUse === IN_USE
  return {
    variant: entryUnit === clusterSize ? 'expandable' : 'expandable, old',
    features: fields.extensionOffset > 0 ? ['format extension'] : [],
    warnings: wasInUse ? ['the image was not closed by its last writer: clusters may be missing from its table'] : [],
    details: { clusterSize, tableEntries: fields.batEntries },
  }
}

async function* clusterExtents(
  source: Source,
  geometry: Geometry,
  start: number,
  end: number,
): AsyncGenerator<ExtentRows> {
  const { clusterSize, diskSize } = geometry
  const extents = new ExtentCollector(start, end)
  const last = Math.ceil(end / clusterSize)
  for (let first = Math.floor(start / clusterSize); first < last; first += TABLE_BATCH) {
    const count = Math.min(TABLE_BATCH, last - first)
    const table = await readExactly(source, BAT_OFFSET + first * BAT_ENTRY_SIZE, count * BAT_ENTRY_SIZE)
    const view = new DataView(table.buffer, table.byteOffset)
    for (let i = 0; i < count; i++) {
      const guest = (first + i) * clusterSize
      const length = Math.min(clusterSize, diskSize - guest)
      const entry = view.getUint32(i * BAT_ENTRY_SIZE, true)
      if (entry === UNALLOCATED) extents.add(guest, length, Kind.hole)
      else extents.add(guest, length, Kind.stored, clusterPlace(source, geometry, first + i, entry, length))
    }
    yield extents.take()
  }
}

/** Byte offset of a cluster's data: behind the table, and inside the file. */
function clusterPlace(source: Source, geometry: Geometry, cluster: number, entry: number, length: number): number {
  const host = entry * geometry.entryUnit
  const offset = BAT_OFFSET + cluster * BAT_ENTRY_SIZE
  const tableEnd = BAT_OFFSET + geometry.fields.batEntries * BAT_ENTRY_SIZE
  if (host < tableEnd) {
    throw malformed(`Parallels cluster ${cluster} lies in the table`, {
      found: host,
      expected: `at least ${tableEnd}`,
      offset,
    })
  }
  if (host + length <= source.size) return host
  throw truncated(`Parallels cluster ${cluster}`, { found: source.size, expected: host + length, offset })
}
