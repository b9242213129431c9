import { isDiskferryError } from '../../bytes/errors.ts'
import { EXTENT_WIDTH, Extent, Kind } from '../../formats/extents.ts'
import type { DiskImage, FormatName, ImageFacts } from '../../formats/format.ts'
import { type GuestContent, readGuestContent } from '../../guest/partitions.ts'
import { OutOfRequests } from '../../io/out-of-requests.ts'
import type { Source } from '../../io/source.ts'
import { checkImage, type ImageViolation } from '../../rules/image-safety.ts'
import { withOpened } from '../opened-image.ts'
import type { OpenInput, SourceInput } from '../source-input.ts'
import { type RegionBar, RegionBarBuilder } from './region-bar.ts'

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
  /** The disk drawn to scale. Missing with `allocation`. */
  readonly bar?: RegionBar
  /** Partitions and file systems. Missing with `allocation`, and where they were not looked for. */
  readonly content?: GuestContent
  /** Rules that keep it from being converted. */
  readonly violations: readonly ImageViolation[]
}

export interface InspectOptions extends OpenInput {
  /**
   * Whether to look for partitions and file systems. Default: in files and bytes; elsewhere each look is a request, and
   * an image is described by its own tables alone.
   */
  content?: boolean | undefined
  /**
   * Whether to follow tables wherever they lie. Default: in files and bytes; elsewhere as far as a few requests bring what
   * they hold, and `unreadable` says when that was not far enough.
   */
  allocation?: boolean | undefined
  signal?: AbortSignal | undefined
}

/** Requests, after the one that opens a remote image, in which it is described: its end, and two looks at tables. */
const FEW_REQUESTS = 3

/** Reads an image's headers and tables, and of its data the partition tables and the first bytes of file systems. */
export async function inspect(input: SourceInput, options: InspectOptions = {}): Promise<Inspection> {
  const limited = isFar(input) && !options.allocation && !options.content ? input.limited?.(FEW_REQUESTS) : undefined
  if (limited === undefined) return look(input, options)
  return look(limited, options).catch((error) => {
    if (error instanceof OutOfRequests) return look(input, options)
    throw error
  })
}

function isFar(input: SourceInput): input is Source {
  return typeof input === 'object' && 'limited' in input
}

function look(input: SourceInput, options: InspectOptions): Promise<Inspection> {
  return withOpened({ ...options, source: input }, (image, source) => {
    const { content = source.files !== undefined || input instanceof Uint8Array, signal } = options
    return describe(image, source, { content, signal })
  })
}

type Looking = Required<Pick<InspectOptions, 'content'>> & Pick<InspectOptions, 'signal'>

async function describe(image: DiskImage, source: Source, how: Looking): Promise<Inspection> {
  return {
    name: source.name ?? 'source',
    format: image.format,
    virtualSize: image.virtualSize,
    storedSize: source.size,
    ...image.facts,
    ...(await readAllocation(image, how)),
    violations: checkImage(image),
  }
}

/** An image that needs what it does not hold can still be described. */
async function readAllocation(
  image: DiskImage,
  { content, signal }: Looking,
): Promise<Pick<Inspection, 'allocation' | 'unreadable' | 'bar' | 'content'>> {
  try {
    const found = await sumAllocation(image, signal)
    return content ? { ...found, content: await readGuestContent(image) } : found
  } catch (error) {
    if (error instanceof OutOfRequests) return { unreadable: error.message }
    if (isDiskferryError(error, 'unsupported-feature') || isDiskferryError(error, 'unsafe-image'))
      return { unreadable: error.message }
    throw error
  }
}

const NAMES = Object.keys(Kind) as (keyof typeof Kind)[]
/** As many cells as a line of a terminal has room for. */
const BAR_CELLS = 64

async function sumAllocation(
  image: DiskImage,
  signal: AbortSignal | undefined,
): Promise<Required<Pick<Inspection, 'allocation' | 'bar'>>> {
  const total = { stored: 0, packed: 0, zero: 0, hole: 0, parent: 0, extents: 0 }
  const bar = new RegionBarBuilder(image.virtualSize, BAR_CELLS)
  for await (const rows of image.extents()) {
    signal?.throwIfAborted()
    for (let row = 0; row < rows.length; row += EXTENT_WIDTH) {
      const length = rows[row + Extent.length] as number
      const kind = NAMES[rows[row + Extent.kind] as number] as keyof typeof Kind
      total[kind] += length
      total.extents += 1
      bar.add(kind === 'stored' ? 'data' : kind, rows[row + Extent.guest] as number, length)
    }
  }
  return { allocation: total, bar: bar.finish() }
}
