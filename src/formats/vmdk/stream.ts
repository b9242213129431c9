import { DiskferryError, malformed, tooLarge } from '../../bytes/errors.ts'
import { formatSize } from '../../bytes/units.ts'
import type { SequentialReader } from '../../io/sequential-reader.ts'
import type { DiskStream } from '../format.ts'
import { parseDescriptor } from './descriptor.ts'
import { factsOf } from './open.ts'
import { capacityOf, grainSizeOf, sectorsToBytes } from './sparse-extent.ts'
import { assertHeader, featuresOf, fieldPlace } from './sparse-file.ts'
import { Flag, GD_AT_END, MAX_DESCRIPTOR_SIZE, MAX_GTES_PER_GT, type SparseHeader, sparseHeader } from './spec.ts'
import { frontTables } from './stream-front.ts'
import { type GrainStream, grainPieces } from './stream-grains.ts'

/** Ours: directory and tables in front of the grains of a disk of 4 TiB. They are held while they are looked through. */
const MAX_FRONT = 256 * 1024 * 1024

/** Opens a streamOptimized VMDK that comes front to back: each grain says by its marker where it belongs. */
export async function openStream(reader: SequentialReader): Promise<DiskStream> {
  const head = await reader.peek(sparseHeader.size)
  const header = sparseHeader.decode(head)
  assertHeader(header, 0)
  assertStream(header)
  const front = await reader.read(frontSize(header), 'what stands in front of the VMDK grains')
  const descriptorAt = sectorsToBytes(header.descriptorOffset, fieldPlace('descriptorOffset'))
  const descriptorEnd = descriptorAt + sectorsToBytes(header.descriptorSize, fieldPlace('descriptorSize'))
  if (descriptorAt === 0 || descriptorEnd > front.length) throw notInFront('descriptorOffset', descriptorEnd, front)
  if (descriptorEnd - descriptorAt > MAX_DESCRIPTOR_SIZE) {
    const found = descriptorEnd - descriptorAt
    throw tooLarge('VMDK descriptor', { found, expected: `at most ${formatSize(MAX_DESCRIPTOR_SIZE)}` })
  }
  const descriptor = parseDescriptor(front.subarray(descriptorAt, descriptorEnd), descriptorAt)
  const grains = grainsOf(header, front)
  const { grainSize, capacity, lastUnit } = grains
  const details = { version: header.version, grainSize }
  return {
    format: 'vmdk',
    virtualSize: capacity,
    facts: factsOf(descriptor, { variant: 'streamOptimized', features: featuresOf(header), warnings: [], details }),
    codecs: [
      { name: 'zlib', unitSize: grainSize },
      { name: 'zlib', unitSize: lastUnit },
    ],
    pieces: () => grainPieces(reader, grains),
  }
}

function assertStream({ flags, capacity }: SparseHeader): void {
  if (flags & Flag.compressed && flags & Flag.markers && capacity > 0n) return
  throw new DiskferryError('unsupported-format', 'of VMDKs only streamOptimized can be read front to back', {
    found: `0x${flags.toString(16)}`,
    expected: 'compressed grains behind markers',
    offset: sparseHeader.offsetOf('flags'),
    hint: 'store it in a file, and convert that',
  })
}

function frontSize({ overHead }: SparseHeader): number {
  const place = fieldPlace('overHead')
  const size = sectorsToBytes(overHead, place)
  if (size < sparseHeader.size) throw malformed(place.name, { found: size, expected: 'at least a header', ...place })
  if (size <= MAX_FRONT) return size
  throw tooLarge(place.name, { found: size, expected: `at most ${formatSize(MAX_FRONT)}`, offset: place.offset })
}

function grainsOf(header: SparseHeader, front: Buffer): GrainStream {
  const capacity = capacityOf(header.capacity, fieldPlace('capacity'))
  const grainSize = grainSizeOf(header.grainSize, fieldPlace('grainSize'))
  const { gtesPerGt } = header
  if (gtesPerGt === 0 || gtesPerGt > MAX_GTES_PER_GT) {
    throw malformed('VMDK entries of a grain table', { found: gtesPerGt, expected: `1 to ${MAX_GTES_PER_GT}` })
  }
  const base = { header, capacity, grainSize, lastUnit: capacity % grainSize || grainSize }
  if (header.gdOffset === GD_AT_END) return { ...base, stored: undefined }
  const directory = sectorsToBytes(header.gdOffset, fieldPlace('gdOffset'))
  const count = Math.ceil(capacity / (grainSize * gtesPerGt))
  const stored = frontTables(front, { directory, count, gtesPerGt, grains: Math.ceil(capacity / grainSize) })
  if (stored === undefined) throw notInFront('gdOffset', directory, front)
  return { ...base, stored }
}

function notInFront(field: keyof SparseHeader, found: number, front: Buffer): DiskferryError {
  const { name, offset } = fieldPlace(field)
  return new DiskferryError('unsupported-format', `${name} points behind the grains: it can't be read front to back`, {
    found,
    expected: `at most ${front.length}`,
    offset,
    hint: 'store it in a file, and convert that',
  })
}
