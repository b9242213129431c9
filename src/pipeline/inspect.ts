import { isDiskferryError } from '../bytes/errors.ts'
import { EXTENT_WIDTH, Extent, Kind } from '../formats/extents.ts'
import type { DiskImage, FormatName, ImageFacts } from '../formats/format.ts'
import { openImage } from '../formats/registry.ts'
import type { Source } from '../io/source.ts'
import { checkImage, type ImageViolation } from '../rules/image-safety.ts'
import { companionsOf, type OpenInput, openSource, type SourceInput } from './source-input.ts'

/** How the guest's bytes are kept. */
export interface Allocation {
  /** Guest bytes by what they are; together they are the disk. */
  readonly stored: number
  readonly packed: number
  readonly zero: number
  readonly hole: number
  readonly parent: number
  /** Runs that are one both in the guest and in the file. */
  readonly extents: number
}

/** What an image is. Sizes in bytes. */
export interface Inspection extends ImageFacts {
  readonly name: string
  readonly format: FormatName
  readonly virtualSize: number
  /** Size of the file that holds it. */
  readonly storedSize: number
  /** Missing when the image's tables can't be followed: `violations` or `unreadable` say why. */
  readonly allocation?: Allocation
  readonly unreadable?: string
  /** Rules that keep it from being converted. */
  readonly violations: readonly ImageViolation[]
}

export interface InspectOptions extends OpenInput {
  signal?: AbortSignal | undefined
}

/** Reads an image's headers and tables, and none of its data. */
export async function inspect(input: SourceInput, options: InspectOptions = {}): Promise<Inspection> {
  const source = await openSource(input)
  try {
    const image = await openImage(source, { companions: companionsOf(input), ...options })
    try {
      return await describe(image, source, options.signal)
    } finally {
      await image.close?.()
    }
  } finally {
    if (source !== input) await source.close?.()
  }
}

async function describe(image: DiskImage, source: Source, signal: AbortSignal | undefined): Promise<Inspection> {
  return {
    name: source.name ?? 'source',
    format: image.format,
    virtualSize: image.virtualSize,
    storedSize: source.size,
    ...image.facts,
    ...(await readAllocation(image, signal)),
    violations: checkImage(image),
  }
}

/** An image that needs what it does not hold can still be described. */
async function readAllocation(
  image: DiskImage,
  signal: AbortSignal | undefined,
): Promise<Pick<Inspection, 'allocation' | 'unreadable'>> {
  try {
    return { allocation: await sumAllocation(image, signal) }
  } catch (error) {
    if (isDiskferryError(error, 'unsupported-feature') || isDiskferryError(error, 'unsafe-image'))
      return { unreadable: error.message }
    throw error
  }
}

const NAMES = Object.keys(Kind) as (keyof typeof Kind)[]

async function sumAllocation(image: DiskImage, signal: AbortSignal | undefined): Promise<Allocation> {
  const total = { stored: 0, packed: 0, zero: 0, hole: 0, parent: 0, extents: 0 }
  for await (const rows of image.extents()) {
    signal?.throwIfAborted()
    for (let row = 0; row < rows.length; row += EXTENT_WIDTH) {
      const length = rows[row + Extent.length] as number
      total[NAMES[rows[row + Extent.kind] as number] as keyof typeof Kind] += length
      total.extents += 1
    }
  }
  return total
}
