import { UnitMap } from '../../src/bytes/unit-map.ts'
import { checkedExtents, EXTENT_WIDTH, Kind } from '../../src/formats/extents.ts'
import type { DiskImage, ImageWriter, Layout } from '../../src/formats/format.ts'
import { readOptions } from '../../src/formats/options.ts'
import { type Companions, type FormatName, formats, isDiskferryError, openImage } from '../../src/index.ts'
import { convertToBytes, firstDifference } from './convert.ts'
import { allocatedBytes } from './memory.ts'
import { countingSource } from './sources.ts'
import { decodeZvhd, decodeZvhd2 } from './zvhd-decoder.ts'

/** What one image may cost: processor time, bytes allocated, bytes read at once. */
const MOST_MS = 3000
const MOST_ALLOCATED = 128 * 2 ** 20
const MOST_READ = 32 * 2 ** 20
/** Disks so large are planned for, and so large converted. */
const MOST_PLANNED = 2 ** 41
const MOST_DECODED = 4 * 2 ** 20
const MOST_REGIONS = 100

const writers = formats.filter(({ writer }) => writer !== undefined)

export interface Attempt {
  readonly bytes: Buffer
  readonly format: FormatName
  readonly companions?: Companions | undefined
}

/**
 * All that diskferry does with an image: opens it, follows its tables, plans every target, decodes it. Gives the code of
 * the error that refused it, or what was reached. Throws for whatever must never happen: an error that is not
 * diskferry's own, too much time, too much memory, bytes that another decoder reads otherwise.
 */
export async function attempt({ bytes, format, companions }: Attempt): Promise<string> {
  const source = countingSource(bytes)
  const started = process.cpuUsage()
  const before = allocatedBytes()
  let outcome: string
  try {
    const image = await openImage(source, { from: format, companions })
    await plansFor(image)
    outcome = image.virtualSize <= MOST_DECODED ? await decode({ bytes, format, companions }) : 'planned'
  } catch (error) {
    outcome = refusal(error)
  }
  const { user, system } = process.cpuUsage(started)
  const allocated = allocatedBytes() - before
  const largest = source.reads.reduce((most, { length }) => Math.max(most, length), 0)
  if ((user + system) / 1000 > MOST_MS) throw new Error(`took ${(user + system) / 1000} ms`)
  if (allocated > MOST_ALLOCATED) throw new Error(`allocated ${allocated} bytes`)
  if (largest > MOST_READ) throw new Error(`read ${largest} bytes at once`)
  return outcome
}

/** The code of an error that an image may lead to. */
function refusal(error: unknown): string {
  if (!isDiskferryError(error)) throw error
  if (['plan-violated', 'worker-lost', 'short-read'].includes(error.code)) throw error
  if (/undefined|NaN|\[object|Infinity/.test(error.message)) throw new Error(`a message of holes: ${error.message}`)
  return error.code
}

/** Plans every target for the image; one that can't hold the disk says so. */
async function plansFor(image: DiskImage): Promise<void> {
  const maps = new Map<ImageWriter, UnitMap>()
  for (const { name, writer } of writers as { name: string; writer: ImageWriter }[]) {
    try {
      const unitSize = writer.unitSize(image.virtualSize, readOptions(writer.options, {}, name))
      const size = unitSize === undefined || image.virtualSize > MOST_PLANNED ? 0 : image.virtualSize
      maps.set(writer, new UnitMap(size, unitSize ?? 1))
    } catch (error) {
      if (!isDiskferryError(error, 'target-unfit')) throw error
    }
  }
  await mapExtents(image, [...maps.values()])
  if (image.virtualSize > MOST_PLANNED) return
  for (const [writer, units] of maps) planOne(writer, units, image.virtualSize)
}

/** Sets the units that hold data, and holds each extent to the file's end. */
async function mapExtents(image: DiskImage, maps: readonly UnitMap[]): Promise<void> {
  for await (const rows of checkedExtents(image.extents(), 0, image.virtualSize)) {
    for (let row = 0; row < rows.length; row += EXTENT_WIDTH) {
      const [guest = 0, length = 0, kind = 0, host = 0, packed = 0] = rows.subarray(row, row + EXTENT_WIDTH)
      if (kind !== Kind.stored && kind !== Kind.packed) continue
      const end = host + (kind === Kind.stored ? length : packed)
      if (end > image.source.size) throw new Error(`an extent ends at ${end}, past the file's end`)
      for (const map of maps) {
        const last = Math.min(map.length, Math.ceil((guest + length) / map.unitSize))
        map.addRange(Math.floor(guest / map.unitSize), last)
      }
    }
  }
}

function planOne(writer: ImageWriter, units: UnitMap, virtualSize: number): void {
  const options = readOptions(writer.options, {}, 'a target')
  let layout: Layout
  try {
    layout = writer.plan({ virtualSize, units, seed: Buffer.alloc(32, 7) }, options)
  } catch (error) {
    if (isDiskferryError(error, 'target-unfit')) return
    throw error
  }
  if (layout.kind === 'packed') {
    layout.writer().begin()
    return
  }
  let end = 0
  let count = 0
  for (const region of layout.regions()) {
    if (region.offset !== end) throw new Error(`region ${region.name} is at ${region.offset}, not ${end}`)
    if (region.kind === 'bytes') region.bytes()
    end += region.length
    if (++count === MOST_REGIONS) return
  }
  if (end !== layout.size) throw new Error(`regions end at ${end}, not ${layout.size}`)
}

/** The guest's bytes; where a decoder that shares no code with ours reads the file, they must be the same. */
async function decode({ bytes, format, companions }: Attempt): Promise<string> {
  const disk = await convertToBytes({ source: bytes, from: format, to: 'raw', companions })
  const expected = byAnother(bytes, format)
  if (expected === undefined) return 'decoded'
  const difference = firstDifference(disk, expected)
  if (difference !== undefined) throw new Error(`another decoder reads ${format} otherwise: ${difference}`)
  return 'agreed'
}

/** Undefined where there is no other decoder in this process, or it is stricter: it takes only what the writer makes. */
function byAnother(bytes: Buffer, format: string): Buffer | undefined {
  try {
    if (format === 'zvhd') return decodeZvhd(bytes).disk
    return format === 'zvhd2' && bytes.at(COMPRESSION) === 0 ? decodeZvhd2(bytes).disk : undefined
  } catch {
    return undefined
  }
}

/** From the end: 0 is zlib. For zstd the other decoder starts a program, which is too slow here. */
const COMPRESSION = 141 - 4096
