import { EXTENT_WIDTH, Extent, type ExtentRows, Kind } from '../../formats/extents.ts'
import type { DiskImage } from '../../formats/format.ts'

/** A run of guest bytes as a task takes it. */
export interface Piece {
  kind: Kind
  length: number
  /** In the source: where the run is stored, or where its packed unit is. */
  host: number
  packed: number
  /** Bytes of the unpacked unit before the run. */
  skip: number
  codec: number
}

/** Walks an image's extents forward once, and cuts from them the runs that are asked for, in ascending order. */
export class ExtentCursor {
  readonly #batches: AsyncIterator<ExtentRows>
  #rows: ExtentRows = new Float64Array(0)
  #row = 0
  /** Guest offset up to which every byte of data has been cut or skipped. */
  #accounted = 0
  #skipped = 0

  /** Walks guest bytes `start` to `end`; by default the whole disk. */
  constructor(image: DiskImage, start = 0, end = image.virtualSize) {
    this.#batches = image.extents(start, end)[Symbol.asyncIterator]()
  }

  /** The pieces of guest bytes `guest` to `guest + length`; what lies past the disk's end is zero. */
  async *pieces(guest: number, length: number): AsyncGenerator<Piece> {
    const end = guest + length
    for (let at = guest; at < end; ) {
      const piece = (await this.#seek(at)) ? this.#cut(at, end) : zeros(end - at)
      at += piece.length
      yield piece
    }
  }

  /** Goes to the extent that holds guest byte `at`. False past the disk's end. */
  async #seek(at: number): Promise<boolean> {
    for (;;) {
      for (; this.#row < this.#rows.length; this.#row += EXTENT_WIDTH) {
        const end = this.#column(Extent.guest) + this.#column(Extent.length)
        this.#skipTo(Math.min(at, end))
        if (at < end) return true
      }
      const next = await this.#batches.next()
      if (next.done) return false
      this.#rows = next.value
      this.#row = 0
    }
  }

  /** Data that nobody asks for: zeros that were found, and are left out. */
  #skipTo(at: number): void {
    const kind = this.#column(Extent.kind)
    const from = Math.max(this.#accounted, this.#column(Extent.guest))
    if ((kind === Kind.stored || kind === Kind.packed) && at > from) this.#skipped += at - from
    this.#accounted = Math.max(this.#accounted, at)
  }

  /** Bytes of data that have been skipped since this was last asked. */
  takeSkipped(): number {
    const skipped = this.#skipped
    this.#skipped = 0
    return skipped
  }

  #cut(at: number, end: number): Piece {
    const into = at - this.#column(Extent.guest)
    const length = Math.min(this.#column(Extent.length) - into, end - at)
    this.#accounted = at + length
    const host = this.#column(Extent.host)
    switch (this.#column(Extent.kind)) {
      case Kind.stored:
        return { kind: Kind.stored, length, host: host + into, packed: 0, skip: 0, codec: 0 }
      case Kind.packed:
        return {
          kind: Kind.packed,
          length,
          host,
          packed: this.#column(Extent.packed),
          skip: this.#column(Extent.skip) + into,
          codec: this.#column(Extent.codec),
        }
      default:
        return zeros(length)
    }
  }

  #column(column: number): number {
    return this.#rows[this.#row + column] as number
  }

  /** Ends the walk early. */
  async close(): Promise<void> {
    await this.#batches.return?.()
  }
}

function zeros(length: number): Piece {
  return { kind: Kind.zero, length, host: 0, packed: 0, skip: 0, codec: 0 }
}
