import { DiskferryError } from '../../bytes/errors.ts'
import type { UnitMap } from '../../bytes/unit-map.ts'
import { checkedExtents, EXTENT_WIDTH, Extent, Kind } from '../../formats/extents.ts'
import type { DiskImage, ExactLayout, Layout } from '../../formats/format.ts'
import type { WriterOptions } from '../../formats/registry.ts'
import { type GuestContent, readGuestContent } from '../../guest/partitions.ts'
import { withOpened } from '../opened-image.ts'
import { ExtentCursor } from '../plan/extent-cursor.ts'
import { type PlanOptions, planTarget } from '../plan-target.ts'
import { MOST_CELLS, type RegionBar, RegionBarBuilder, type RegionKind } from './region-bar.ts'

/** How one image lies. Sizes in bytes. */
export interface MapSide {
  readonly format: string
  readonly variant: string
  readonly virtualSize: number
  /** Of the file; undefined for a target whose units are packed on the way. */
  readonly size?: number
  readonly sizeAtMost: number
  /** The disk as the guest sees it. */
  readonly guest: RegionBar
  /** The file. What holds no guest bytes is metadata: headers, tables, and what nothing refers to. Undefined with `size`. */
  readonly container?: RegionBar
}

/** An image drawn to scale and, beside it, what a conversion would make of it. */
export interface DiskMap {
  readonly name: string
  readonly source: MapSide
  readonly target?: MapSide
  readonly content: GuestContent
}

export interface MapOptions<T extends keyof WriterOptions = keyof WriterOptions>
  extends Omit<PlanOptions<T>, 'to' | 'onProgress'> {
  /** The format of the target to lay out beside the source. The source's data is looked through for zeros then. */
  to?: T | undefined
  /** Into how many cells the disk is cut, at most. Default 256. */
  cells?: number | undefined
}

const DEFAULT_CELLS = 256

/**
 * Says how an image's guest bytes lie in the disk and in its file and, with `to`, how they would lie in a target. Nothing
 * is written; memory does not grow with the disk.
 * @throws DiskferryError what opening the image throws; with `to`, what `convert` throws before it writes
 */
export async function mapImage<T extends keyof WriterOptions>(options: MapOptions<T>): Promise<DiskMap> {
  const { cells = DEFAULT_CELLS, to } = options
  if (!Number.isInteger(cells) || cells < 1 || cells > MOST_CELLS) {
    throw new DiskferryError('usage', `cells ${cells} is out of range`, {
      found: cells,
      expected: `1 to ${MOST_CELLS}`,
    })
  }
  return to === undefined ? mapSource(options, cells) : mapBoth({ ...options, to }, cells)
}

function mapSource(options: MapOptions, cells: number): Promise<DiskMap> {
  return withOpened(options, async (image, source) => ({
    name: source.name ?? 'source',
    ...(await describeImage(image, cells, options.signal)),
  }))
}

async function mapBoth(options: PlanOptions, cells: number): Promise<DiskMap> {
  const planned = await planTarget(options)
  try {
    const { source, to, units, job } = planned
    const described = await describeImage(job.image, cells, options.signal)
    const guest = units.length > 0 ? unitBar(job.layout, units, cells) : described.source.guest
    const target = { format: to, guest, ...(await describeLayout(job.image, job.layout, cells, options.signal)) }
    return { name: source.name ?? 'source', ...described, target }
  } finally {
    await planned.close()
  }
}

const KINDS: Readonly<Record<number, RegionKind>> = {
  [Kind.hole]: 'hole',
  [Kind.zero]: 'zero',
  [Kind.stored]: 'data',
  [Kind.packed]: 'packed',
  [Kind.parent]: 'parent',
}

async function describeImage(
  image: DiskImage,
  cells: number,
  signal: AbortSignal | undefined,
): Promise<Pick<DiskMap, 'source' | 'content'>> {
  const { source, format, facts, virtualSize } = image
  const guest = new RegionBarBuilder(virtualSize, cells)
  const container = new RegionBarBuilder(source.size, cells)
  for await (const rows of checkedExtents(image.extents(), 0, virtualSize)) {
    signal?.throwIfAborted()
    for (let row = 0; row < rows.length; row += EXTENT_WIDTH) {
      const column = (index: number) => rows[row + index] as number
      const kind = KINDS[column(Extent.kind)] as RegionKind
      guest.add(kind, column(Extent.guest), column(Extent.length))
      if (kind === 'data') container.add(kind, column(Extent.host), column(Extent.length))
      if (kind === 'packed') container.add(kind, column(Extent.host), column(Extent.packed))
    }
  }
  const bars = { guest: guest.finish(), container: container.finish('metadata') }
  const sizes = { virtualSize, size: source.size, sizeAtMost: source.size }
  return {
    source: { format, variant: facts.variant, ...sizes, ...bars },
    content: await readGuestContent(image),
  }
}

/** The target's units as its guest will see them. */
function unitBar({ virtualSize }: Layout, units: UnitMap, cells: number): RegionBar {
  const bar = new RegionBarBuilder(virtualSize, cells)
  for (const { from, to } of units.runs()) bar.add('data', from * units.unitSize, (to - from) * units.unitSize)
  return bar.finish('hole')
}

async function describeLayout(
  image: DiskImage,
  layout: Layout,
  cells: number,
  signal: AbortSignal | undefined,
): Promise<Omit<MapSide, 'format' | 'guest'>> {
  const { variant, virtualSize } = layout
  if (layout.kind === 'packed') return { variant, virtualSize, sizeAtMost: layout.sizeAtMost }
  const { size } = layout
  return { variant, virtualSize, size, sizeAtMost: size, container: await layoutBar(image, layout, cells, signal) }
}

/** The file as it would be written: guest regions that only show zeros are told from those that hold data. */
async function layoutBar(
  image: DiskImage,
  layout: ExactLayout,
  cells: number,
  signal: AbortSignal | undefined,
): Promise<RegionBar> {
  const bar = new RegionBarBuilder(layout.size, cells)
  const cursor = new ExtentCursor(image)
  try {
    for (const region of layout.regions()) {
      signal?.throwIfAborted()
      if (region.kind === 'bytes') bar.add('metadata', region.offset, region.length)
      if (region.kind === 'zero') bar.add('zero', region.offset, region.length)
      if (region.kind !== 'guest') continue
      let at = region.offset
      for await (const { kind, length } of cursor.pieces(region.guest, region.length)) {
        bar.add(kind === Kind.stored || kind === Kind.packed ? 'data' : 'zero', at, length)
        at += length
      }
    }
  } finally {
    await cursor.close()
  }
  return bar.finish()
}
