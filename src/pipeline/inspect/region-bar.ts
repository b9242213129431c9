import { alignUp, SECTOR } from '../../bytes/units.ts'

/** What a run of a disk, or of the file that holds it, is. */
export const REGION_KINDS = ['data', 'packed', 'zero', 'hole', 'parent', 'metadata'] as const
export type RegionKind = (typeof REGION_KINDS)[number]

/** A disk or a file, cut into cells of one size, and how many bytes of each cell are of each kind. Plain data. */
export interface RegionBar {
  /** Bytes that the cells cover. The last cell may reach beyond. */
  readonly size: number
  readonly cellSize: number
  /** Bytes by cell, for each kind that occurs. */
  readonly bytes: Partial<Readonly<Record<RegionKind, readonly number[]>>>
}

/** Ours: what a screen can show. */
export const MOST_CELLS = 4096

/** Collects runs into a bar. It takes the same memory whatever their number. */
export class RegionBarBuilder {
  readonly #size: number
  readonly #cellSize: number
  readonly #bytes = new Map<RegionKind, Float64Array>()

  constructor(size: number, cells: number) {
    this.#size = size
    this.#cellSize = Math.max(SECTOR, alignUp(Math.ceil(size / cells), SECTOR))
  }

  /** What lies outside of the bar is left out. */
  add(kind: RegionKind, offset: number, length: number): void {
    const end = Math.min(offset + length, this.#size)
    const cells = this.#cellsOf(kind)
    for (let at = Math.max(0, offset); at < end; ) {
      const cell = Math.floor(at / this.#cellSize)
      const next = Math.min(end, (cell + 1) * this.#cellSize)
      cells[cell] = (cells[cell] as number) + (next - at)
      at = next
    }
  }

  /** The bar; what no run covered is of this kind, where one is given. Packed runs may overlap: their length is a bound. */
  finish(rest?: RegionKind): RegionBar {
    if (rest !== undefined) this.#addRest(rest)
    const used = REGION_KINDS.flatMap((kind) => {
      const cells = this.#bytes.get(kind)
      return cells?.some((bytes) => bytes > 0) ? [[kind, [...cells]] as const] : []
    })
    return { size: this.#size, cellSize: this.#cellSize, bytes: Object.fromEntries(used) }
  }

  #addRest(kind: RegionKind): void {
    const others = [...this.#bytes.values()]
    const cells = this.#cellsOf(kind)
    for (let cell = 0; cell < cells.length; cell++) {
      const whole = Math.min(this.#cellSize, this.#size - cell * this.#cellSize)
      const covered = others.reduce((sum, bytes) => sum + (bytes[cell] as number), 0)
      cells[cell] = (cells[cell] as number) + Math.max(0, whole - covered)
    }
  }

  #cellsOf(kind: RegionKind): Float64Array {
    const known = this.#bytes.get(kind)
    if (known !== undefined) return known
    const cells = new Float64Array(Math.ceil(this.#size / this.#cellSize))
    this.#bytes.set(kind, cells)
    return cells
  }
}
