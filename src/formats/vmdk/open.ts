import { DiskferryError, malformed, tooLarge } from '../../bytes/errors.ts'
import { asBuffer } from '../../bytes/struct.ts'
import { formatSize, SECTOR } from '../../bytes/units.ts'
import type { Companions } from '../../io/companions.ts'
import { joinSources } from '../../io/join-sources.ts'
import { readClipped, readExactly, type Source } from '../../io/source.ts'
import type { DiskImage, ImageFacts, ReadContext } from '../format.ts'
import { type Descriptor, parseDescriptor } from './descriptor.ts'
import { DiskParts } from './disk.ts'
import {
  assertFlat,
  assertReadable,
  closeFiles,
  isFlat,
  needsFile,
  openExtentFiles,
  readGrains,
} from './extent-files.ts'
import { fileKind } from './probe.ts'
import { readEmbeddedDescriptor, readSparseFile, type SparseFile, sparseExtentOf } from './sparse-file.ts'
import { Flag, MAX_DESCRIPTOR_SIZE } from './spec.ts'

/**
 * Opens a VMDK: a file that holds its descriptor and its grains, or a descriptor whose extents are files that the
 * caller hands over. Without those files the disk opens, to be inspected; its extents refuse.
 */
export async function open(source: Source, { companions }: ReadContext = {}): Promise<DiskImage> {
  const kind = fileKind(asBuffer(await readClipped(source, 0, SECTOR)))
  switch (kind) {
    case 'sparse':
      return openSparse(source, companions)
    case 'descriptor':
      return openSplit(source, await readDescriptorFile(source), [], companions)
    case undefined:
      throw malformed('VMDK', { found: 'other first bytes', expected: 'KDMV or "# Disk DescriptorFile"', offset: 0 })
    default:
      throw loneExtent(kind)
  }
}

async function readDescriptorFile(source: Source): Promise<Descriptor> {
  if (source.size > MAX_DESCRIPTOR_SIZE) {
    const expected = `at most ${formatSize(MAX_DESCRIPTOR_SIZE)}`
    throw tooLarge('VMDK descriptor', { found: source.size, expected, offset: 0 })
  }
  return parseDescriptor(asBuffer(await readExactly(source, 0, source.size)), 0)
}

async function openSparse(source: Source, companions: Companions | undefined): Promise<DiskImage> {
  const file = await readSparseFile(source)
  const embedded = await readEmbeddedDescriptor(file)
  if (embedded === undefined) throw loneExtent('sparse')
  const descriptor = parseDescriptor(embedded.bytes, embedded.offset)
  if (file.header.capacity === 0n) return openSplit(source, descriptor, file.features, companions)
  return openSingle(file, descriptor)
}

/** One part of a disk, taken for the disk, would leave the other parts out without a word. */
function loneExtent(kind: string): DiskferryError {
  return new DiskferryError('unsupported-feature', 'the file is one extent of a VMDK, without its descriptor', {
    found: kind,
    hint: 'open the descriptor, the small .vmdk file that names this one',
  })
}

/** The extent is this very file, whatever its descriptor calls it: files are renamed. */
async function openSingle(file: SparseFile, descriptor: Descriptor): Promise<DiskImage> {
  const { source, header, features } = file
  const lines = descriptor.extents.filter(({ length }) => length > 0)
  if (lines.length > 1) {
    throw new DiskferryError('unsupported-feature', 'the VMDK has further extents beside the one in this file', {
      found: lines.length,
      expected: 1,
      ...(lines[1] && { offset: lines[1].offset }),
    })
  }
  const { extent, warnings } = await sparseExtentOf(file)
  const [line] = lines
  if (line !== undefined && line.length !== extent.capacity) {
    warnings.push(`the descriptor says ${line.length} bytes, the header ${extent.capacity}: the header was believed`)
  }
  const disk = new DiskParts(descriptor.parent !== undefined)
  disk.addGrains(extent, extent.capacity, 0)
  const variant = header.flags & Flag.compressed ? 'streamOptimized' : 'monolithicSparse'
  const details = { version: header.version, grainSize: extent.grainSize }
  return imageOf(source, descriptor, disk, factsOf(descriptor, { variant, features, warnings, details }))
}

/** Extents in files of their own. They and the descriptor are one address space, which is what the image reads from. */
async function openSplit(
  source: Source,
  descriptor: Descriptor,
  features: readonly string[],
  companions: Companions | undefined,
): Promise<DiskImage> {
  for (const line of descriptor.extents) assertReadable(line)
  const details = { extents: descriptor.extents.length }
  const found = await openExtentFiles(descriptor.extents, companions)
  if ('missing' in found) {
    const facts = factsOf(descriptor, { variant: 'split', features, warnings: [], details })
    return withoutFile(source, descriptor, found.missing, facts)
  }
  try {
    const joined = joinSources([source, ...found.files.values()], source.name)
    const { disk, warnings } = await splitDisk(descriptor, found.files, joined.bases.slice(1))
    const facts = factsOf(descriptor, { variant: 'split', features, warnings, details })
    return { ...imageOf(joined, descriptor, disk, facts), close: () => closeFiles(found.files) }
  } catch (error) {
    await closeFiles(found.files)
    throw error
  }
}

async function splitDisk(
  descriptor: Descriptor,
  files: ReadonlyMap<string, Source>,
  bases: readonly number[],
): Promise<{ disk: DiskParts; warnings: string[] }> {
  const disk = new DiskParts(descriptor.parent !== undefined)
  const baseOf = new Map([...files.keys()].map((name, index) => [name, bases[index] as number]))
  const warnings: string[] = []
  for (const line of descriptor.extents) {
    const { name = '', length, start } = line
    if (!needsFile(line)) {
      disk.addZeros(length)
      continue
    }
    const [file, base] = [files.get(name) as Source, baseOf.get(name) as number]
    if (isFlat(line)) {
      assertFlat(line, file)
      disk.addFlat(length, base + start)
    } else {
      const grains = await readGrains(line, file)
      disk.addGrains(grains.extent, length, base, name)
      warnings.push(...grains.warnings)
    }
  }
  return { disk, warnings }
}

function imageOf(source: Source, descriptor: Descriptor, disk: DiskParts, facts: ImageFacts): DiskImage {
  return {
    format: 'vmdk',
    source,
    virtualSize: disk.virtualSize,
    facts,
    codecs: disk.codecs,
    extents(start = 0, end = disk.virtualSize) {
      assertNotEncrypted(descriptor)
      return disk.extents(start, end)
    },
  }
}

function withoutFile(source: Source, descriptor: Descriptor, missing: string, facts: ImageFacts): DiskImage {
  return {
    format: 'vmdk',
    source,
    virtualSize: descriptor.extents.reduce((sum, { length }) => sum + length, 0),
    facts: { ...facts, dataFile: missing },
    extents() {
      const message = `the VMDK's data lies in another file, which was not handed over: ${JSON.stringify(missing)}`
      const hint = 'hand over the files that lie beside the descriptor'
      throw new DiskferryError('unsupported-feature', message, { found: missing, hint })
    },
  }
}

function assertNotEncrypted({ encryption }: Descriptor): void {
  if (encryption === undefined) return
  const detail = { found: encryption, hint: 'decrypt it first' }
  throw new DiskferryError('unsupported-feature', `the disk is encrypted: ${encryption}`, detail)
}

/** `variant` is what it looks like; the descriptor's own word for it goes first, as long as it is a word. */
export function factsOf(
  { createType, contentId, parent, encryption }: Descriptor,
  { variant, details, ...facts }: ImageFacts,
): ImageFacts {
  return {
    ...facts,
    variant: createType !== undefined && /^\w{1,40}$/.test(createType) ? createType : variant,
    ...(parent !== undefined && { backingFile: parent.name, parentId: parent.contentId }),
    ...(encryption !== undefined && { encryption }),
    details: { ...details, ...(contentId !== undefined && { uniqueId: contentId }) },
  }
}
