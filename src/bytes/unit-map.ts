import { tooLarge } from './errors.ts'

/** Ours: 64 MiB of map, enough for 32 TiB in units of 64 KiB. */
const MAX_UNITS = 2 ** 29

/**
 * One bit for each unit (cluster, block, grain) of a disk: set where the unit holds data.
 * An eighth of a byte a unit is all that is kept of a disk while it is planned: 4 MiB for 2 TiB in 64 KiB units.
 */
export class UnitMap {
  readonly unitSize: number
  readonly length: number
  readonly bits: Uint8Array

  /** A map of `ceil(diskSize / unitSize)` units, none set. Sizes in bytes. */
  constructor(diskSize: number, unitSize: number) {
    this.unitSize = unitSize
    this.length = Math.ceil(diskSize / unitSize)
    if (this.length > MAX_UNITS) {
      throw tooLarge(`a disk of ${diskSize} bytes`, { found: `${this.length} units`, expected: `at most ${MAX_UNITS}` })
    }
    this.bits = new Uint8Array(Math.ceil(this.length / 8))
  }

  has(unit: number): boolean {
    return ((this.bits[unit >>> 3] as number) & (1 << (unit & 7))) !== 0
  }

  add(unit: number): void {
    this.bits[unit >>> 3] = (this.bits[unit >>> 3] as number) | (1 << (unit & 7))
  }

  /** Sets units `from` to `to` (exclusive). */
  addRange(from: number, to: number): void {
    for (let unit = from; unit < to; unit++) {
      if ((unit & 7) === 0 && to - unit >= 8) {
        const whole = (to - unit) >>> 3
        this.bits.fill(0xff, unit >>> 3, (unit >>> 3) + whole)
        unit += whole * 8 - 1
      } else {
        this.add(unit)
      }
    }
  }

  /** The first unit at or after `from` that is set (or, with `wanted` false, not set); `limit` when none before it is. */
  next(from: number, wanted = true, limit = this.length): number {
    const skipped = wanted ? 0 : 0xff
    for (let unit = from; unit < limit; unit++) {
      if ((unit & 7) === 0 && this.bits[unit >>> 3] === skipped) unit += 7
      else if (this.has(unit) === wanted) return unit
    }
    return limit
  }

  /** How many units of `from` to `to` (exclusive) are set. */
  count(from = 0, to = this.length): number {
    let total = 0
    for (const run of this.runs(from, to)) total += run.to - run.from
    return total
  }

  /** The runs of set units between `from` and `to` (exclusive), ascending. */
  *runs(from = 0, to = this.length): Generator<{ from: number; to: number }> {
    for (let start = this.next(from, true, to); start < to; ) {
      const end = this.next(start, false, to)
      yield { from: start, to: end }
      start = this.next(end, true, to)
    }
  }
}
