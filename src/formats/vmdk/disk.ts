import { ExtentCollector, type ExtentRows, Kind } from '../extents.ts'
import type { Codec } from '../format.ts'
import { type GrainPlace, GrainWalk } from './grains.ts'
import { inFile } from './in-file.ts'
import type { SparseExtent } from './sparse-extent.ts'

/** A run of the disk that lies in one extent: in grains, or as it is. */
export type DiskPart = GrainPart | PlainPart

interface GrainPart {
  readonly guest: number
  readonly end: number
  readonly extent: SparseExtent
  readonly place: GrainPlace
  /** Of its file, where the disk has several. */
  readonly name: string | undefined
}

interface PlainPart {
  readonly guest: number
  readonly end: number
  readonly kind: Kind
  /** Offset in the image's source, for `stored`. */
  readonly host: number
}

/** Puts the disk together from its extents, in the order of their guest bytes. */
export class DiskParts {
  readonly parts: DiskPart[] = []
  readonly codecs: Codec[] = []
  readonly #hasParent: boolean
  #end = 0

  constructor(hasParent: boolean) {
    this.#hasParent = hasParent
  }

  get virtualSize(): number {
    return this.#end
  }

  /** `length` bytes that are stored at `host` of the image's source. */
  addFlat(length: number, host: number): void {
    this.parts.push({ ...this.#take(length), kind: Kind.stored, host })
  }

  /** Nothing is stored: zeros, which hide a parent. */
  addZeros(length: number): void {
    this.parts.push({ ...this.#take(length), kind: this.#hasParent ? Kind.zero : Kind.hole, host: 0 })
  }

  /** The first `length` bytes of an extent whose file, called `name`, begins at `base` of the image's source. */
  addGrains(extent: SparseExtent, length: number, base: number, name?: string): void {
    const run = this.#take(length)
    const unallocated = this.#hasParent ? Kind.parent : Kind.hole
    const codec = this.#codecOf(extent.packing && extent.grainSize)
    const lastCodec = this.#codecOf(extent.packing?.lastUnit)
    this.parts.push({ ...run, extent, name, place: { ...run, base, unallocated, codec, lastCodec } })
  }

  #take(length: number): { guest: number; end: number } {
    const guest = this.#end
    this.#end += length
    return { guest, end: this.#end }
  }

  #codecOf(unitSize: number | undefined): number {
    if (unitSize === undefined) return 0
    const known = this.codecs.findIndex((codec) => codec.unitSize === unitSize)
    return known >= 0 ? known : this.codecs.push({ name: 'zlib', unitSize }) - 1
  }

  async *extents(start: number, end: number): AsyncGenerator<ExtentRows> {
    const into = new ExtentCollector(start, end)
    for (const part of this.parts) {
      if (part.end <= start || part.guest >= end) continue
      if ('extent' in part) yield* grainExtents(part, into, start, end)
      else into.add(part.guest, part.end - part.guest, part.kind, part.host)
    }
    if (into.count > 0) yield into.take()
  }
}

async function* grainExtents(
  { extent, place, name }: GrainPart,
  into: ExtentCollector,
  start: number,
  end: number,
): AsyncGenerator<ExtentRows> {
  try {
    yield* new GrainWalk(extent, place).extents(into, start, end)
  } catch (error) {
    throw name === undefined ? error : inFile(name, error)
  }
}
