import { DiskferryError, malformed, tooLarge, truncated } from '../../bytes/errors.ts'
import { asBuffer } from '../../bytes/struct.ts'
import { formatSize, SECTOR } from '../../bytes/units.ts'
import { isZero } from '../../bytes/zeros.ts'
import { readClipped, readExactly, type Source } from '../../io/source.ts'
import { sectorEntries } from './entries.ts'
import { lastUnitOf } from './last-grain.ts'
import {
  assertDirectory,
  capacityOf,
  directoryEntries,
  grainSizeOf,
  type SparseExtent,
  sectorsToBytes,
} from './sparse-extent.ts'
import {
  CompressAlgorithm,
  FLAG_NAMES,
  Flag,
  GD_AT_END,
  grainMarker,
  INCOMPATIBLE_FLAGS,
  MAX_DESCRIPTOR_SIZE,
  MAX_GTES_PER_GT,
  MarkerType,
  metadataMarker,
  NEWLINE_TEST,
  SPARSE_MAGIC,
  type SparseHeader,
  sparseHeader,
  VERSIONS,
} from './spec.ts'

/** A hosted sparse extent's header, checked, and the footer where it counts instead. */
export interface SparseFile {
  readonly source: Source
  readonly header: SparseHeader
  readonly features: readonly string[]
}

/** Reads the header. Nothing is said yet about the grains: a header without capacity has none. */
export async function readSparseFile(source: Source): Promise<SparseFile> {
  const first = sparseHeader.decode(await readClipped(source, 0, sparseHeader.size))
  assertHeader(first, 0)
  const header = first.gdOffset === GD_AT_END ? await readFooter(source) : first
  return { source, header, features: featuresOf(header) }
}

/** "The footer": marker, the header once more, end-of-stream marker. They are the last three sectors. */
async function readFooter(source: Source): Promise<SparseHeader> {
  const offset = source.size - 3 * SECTOR
  if (offset < sparseHeader.size) {
    throw truncated('VMDK footer', { found: source.size, expected: 'a header and a footer', offset: source.size })
  }
  const bytes = await readExactly(source, offset, 3 * SECTOR)
  const marker = metadataMarker.decode(bytes)
  if (marker.size !== 0 || marker.type !== MarkerType.footer) {
    throw malformed('VMDK footer marker', { found: `type ${marker.type}`, expected: 'type 3 before the end', offset })
  }
  if (!isZero(bytes, 2 * SECTOR, 2 * SECTOR + 16)) {
    const at = offset + 2 * SECTOR
    throw malformed('VMDK end-of-stream marker', { found: 'another', expected: 'zeros at the end', offset: at })
  }
  const footer = sparseHeader.decode(bytes, SECTOR)
  assertHeader(footer, offset + SECTOR)
  if (footer.gdOffset !== GD_AT_END) return footer
  const place = offset + SECTOR + sparseHeader.offsetOf('gdOffset')
  throw malformed('VMDK footer', { found: 'all ones', expected: 'the place of the grain directory', offset: place })
}

/** What every hosted sparse extent's header must say. It lies at `base` of its file. */
export function assertHeader(
  { magic, version, flags, newlineTest, compressAlgorithm }: SparseHeader,
  base: number,
): void {
  const at = (name: keyof SparseHeader) => base + sparseHeader.offsetOf(name)
  if (magic !== SPARSE_MAGIC) {
    throw malformed('VMDK magic', { found: hex(magic), expected: hex(SPARSE_MAGIC), offset: at('magic') })
  }
  if (!VERSIONS.some((known) => known === version)) {
    const detail = { found: version, expected: VERSIONS.join(', '), offset: at('version') }
    throw new DiskferryError('unsupported-format', `VMDK version ${version} is not known`, detail)
  }
  if (flags & Flag.newlineTest && newlineTest !== NEWLINE_TEST) {
    throw malformed('VMDK newline test', {
      found: JSON.stringify(newlineTest),
      expected: `${JSON.stringify(NEWLINE_TEST)}: the file was transferred as text`,
      offset: at('newlineTest'),
    })
  }
  const unknown = (flags & INCOMPATIBLE_FLAGS & ~(Flag.compressed | Flag.markers)) >>> 0
  if (unknown !== 0) {
    const detail = { found: hex(unknown), offset: at('flags') }
    throw new DiskferryError('unsupported-feature', `VMDK flags ${hex(unknown)} are not known`, detail)
  }
  const expected = flags & Flag.compressed ? CompressAlgorithm.deflate : CompressAlgorithm.none
  if (compressAlgorithm !== expected) {
    throw malformed('VMDK compression', { found: compressAlgorithm, expected, offset: at('compressAlgorithm') })
  }
}

/** Version 3 without compression came for changed block tracking. Its grains are those of version 1. */
export function featuresOf({ version, flags }: SparseHeader): string[] {
  const names = Object.entries(FLAG_NAMES).flatMap(([flag, name]) => (flags & Number(flag) ? [name] : []))
  return version === 3 && !(flags & Flag.compressed) ? [...names, 'changed block tracking'] : names
}

/** The embedded descriptor with its offset; undefined when there is none, as in a part of a split disk. */
export async function readEmbeddedDescriptor(file: SparseFile): Promise<{ bytes: Buffer; offset: number } | undefined> {
  const { source, header } = file
  const place = fieldPlace('descriptorOffset')
  const offset = sectorsToBytes(header.descriptorOffset, place)
  if (offset === 0) return undefined
  const length = sectorsToBytes(header.descriptorSize, fieldPlace('descriptorSize'))
  if (length > MAX_DESCRIPTOR_SIZE) {
    const expected = `at most ${formatSize(MAX_DESCRIPTOR_SIZE)}`
    throw tooLarge('VMDK descriptor', { found: length, expected, offset: fieldPlace('descriptorSize').offset })
  }
  if (offset + length > source.size) {
    throw truncated('VMDK descriptor', { found: source.size, expected: offset + length, offset: place.offset })
  }
  return { bytes: asBuffer(await readExactly(source, offset, length)), offset }
}

/** The grains of a header that has capacity, and what is odd about them. */
export async function sparseExtentOf(file: SparseFile): Promise<{ extent: SparseExtent; warnings: string[] }> {
  const { source, header } = file
  const gtesPerGt = header.gtesPerGt
  if (gtesPerGt === 0 || gtesPerGt > MAX_GTES_PER_GT) {
    const { name, offset } = fieldPlace('gtesPerGt')
    throw malformed(name, { found: gtesPerGt, expected: `1 to ${MAX_GTES_PER_GT}`, offset })
  }
  const base = {
    title: 'VMDK',
    source,
    capacity: capacityOf(header.capacity, fieldPlace('capacity')),
    grainSize: grainSizeOf(header.grainSize, fieldPlace('grainSize')),
    gtesPerGt,
    entries: sectorEntries((header.flags & Flag.zeroGrains) !== 0),
  }
  const { directory, warnings } = chooseDirectory(base, header)
  const extent = await withPacking({ ...base, directory }, header.flags)
  if (header.uncleanShutdown) warnings.push('the image was not closed cleanly: its last writes may be missing')
  return { extent, warnings }
}

/** The redundant directory serves only where the flag says that it is there, and the other one is lost. */
function chooseDirectory(
  base: Omit<SparseExtent, 'directory'>,
  { flags, gdOffset, rgdOffset }: SparseHeader,
): { directory: number; warnings: string[] } {
  const place = fieldPlace('gdOffset')
  const hasRedundant = (flags & Flag.redundantTable) !== 0
  const lies = (sectors: bigint): boolean => {
    const end = sectors * BigInt(SECTOR) + BigInt(directoryEntries(base) * base.entries.size)
    return sectors > 0n && end <= BigInt(base.source.size)
  }
  if (hasRedundant && !lies(gdOffset) && lies(rgdOffset)) {
    const directory = sectorsToBytes(rgdOffset, fieldPlace('rgdOffset'))
    return { directory, warnings: ['the grain directory lies past the end of the file; the redundant one was used'] }
  }
  const directory = sectorsToBytes(gdOffset, place)
  assertDirectory({ ...base, directory }, place)
  return { directory, warnings: [] }
}

async function withPacking(extent: SparseExtent, flags: number): Promise<SparseExtent> {
  const hasMarkers = (flags & Flag.markers) !== 0
  if (flags & Flag.compressed) {
    const packing = { markerSize: hasMarkers ? grainMarker.size : 0, lastUnit: extent.grainSize }
    return { ...extent, packing: { ...packing, lastUnit: await lastUnitOf(extent, packing) } }
  }
  if (!hasMarkers) return extent
  throw new DiskferryError('unsupported-feature', 'VMDK markers without compression are not known', {
    found: hex(flags),
    offset: sparseHeader.offsetOf('flags'),
  })
}

export function fieldPlace(name: keyof SparseHeader): { name: string; offset: number } {
  return { name: `VMDK ${FIELD_NAMES[name] ?? name}`, offset: sparseHeader.offsetOf(name) }
}

const FIELD_NAMES: { readonly [K in keyof SparseHeader]?: string } = {
  capacity: 'capacity',
  grainSize: 'grain size',
  gtesPerGt: 'entries of a grain table',
  gdOffset: 'grain directory offset',
  rgdOffset: 'redundant grain directory offset',
  descriptorOffset: 'descriptor offset',
  descriptorSize: 'descriptor size',
}

function hex(value: number): string {
  return `0x${value.toString(16).padStart(8, '0')}`
}
