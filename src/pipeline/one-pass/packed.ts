import { packBound } from '../../bytes/pack.ts'
import { isZero } from '../../bytes/zeros.ts'
import { type PackedLayout, PLACED_WIDTH, type PlacedUnits } from '../../formats/format.ts'
import { frames } from '../../formats/frames.ts'
import type { Sink, Summary } from '../../io/sink.ts'
import { violated } from '../plan/plans.ts'
import type { Pool } from '../pool.ts'
import { OP_WIDTH, OpKind, type PackResult } from '../tasks/tasks.ts'
import { outputTo } from '../transfer/output.ts'
import { needsLateHead, shift } from '../transfer/transfer-packed.ts'
import { type DiskWindow, writtenRanges } from './disk-windows.ts'
import type { OnePassSlot, WindowConsumer } from './one-pass.ts'

interface PackedBatch extends PackResult {
  readonly buffer: SharedArrayBuffer
}

export interface PackedPass {
  /** Its map of units is empty, and is filled here. */
  readonly layout: PackedLayout
  readonly pool: Pool
  readonly sink: Sink
  readonly windowSize: number
  readonly keepZeros: boolean
}

/** Packs what of each window holds data. A table follows its units when it is known which unit comes next. */
export class PackedConsumer implements WindowConsumer {
  readonly windowSize: number
  readonly #pass: PackedPass
  readonly #output
  readonly #writer
  /** The target's first unit, as far as it has been found. */
  #first: Promise<number | undefined> = Promise.resolve(undefined)
  #placed: PlacedUnits | undefined

  constructor(pass: PackedPass) {
    if (pass.layout.lateHead > 0 && pass.sink.kind !== 'positioned') throw needsLateHead()
    this.#pass = pass
    this.windowSize = pass.windowSize
    this.#output = outputTo(pass.sink)
    this.#writer = pass.layout.writer()
  }

  begin(): Promise<void> {
    return this.#output.append(this.#writer.begin())
  }

  async prepare(window: DiskWindow, slot: OnePassSlot, filled: Promise<unknown>): Promise<() => Promise<void>> {
    const found = filled.then(() => this.#unitsOf(window, Buffer.from(slot.plain)))
    const first = Promise.all([this.#first, found]).then(([known, units]) => known ?? units[0])
    first.catch(() => undefined)
    this.#first = first
    const batches: PackedBatch[] = []
    for (const units of this.#byTable(await found)) {
      batches.push(await this.#pack(units, window, slot, batches.length === 0, (await first) as number))
    }
    return async () => {
      for (const batch of batches) await this.#deliver(batch)
    }
  }

  async end(): Promise<Summary> {
    const output = this.#output
    await this.#endBatch()
    await output.append(this.#writer.end(output.position))
    await output.end(this.#writer.head?.())
    const { sizeAtMost } = this.#pass.layout
    if (output.position > sizeAtMost) throw violated('the end', output.position, sizeAtMost)
    return { size: output.position, crc32c: output.crc32c }
  }

  /** Numbers of the window's units that hold data, ascending. */
  #unitsOf(window: DiskWindow, plain: Buffer): number[] {
    const { unitSize, length } = this.#pass.layout.units
    const first = window.guest / unitSize
    const count = Math.min(this.windowSize / unitSize, length - first)
    const ranges = this.#pass.keepZeros ? writtenRanges(window) : undefined
    const holdsData = (at: number): boolean =>
      ranges?.some(([start, end]) => start < at + unitSize && end > at) ?? !isZero(plain, at, at + unitSize)
    const units: number[] = []
    for (let unit = 0; unit < count; unit++) if (holdsData(unit * unitSize)) units.push(first + unit)
    return units
  }

  /** Runs of units, none of which crosses the end of a table. */
  #byTable(units: readonly number[]): number[][] {
    const { tableSpan = Number.POSITIVE_INFINITY } = this.#pass.layout
    const tables = new Map<number, number[]>()
    for (const unit of units) {
      const table = Math.floor(unit / tableSpan)
      const known = tables.get(table)
      if (known === undefined) tables.set(table, [unit])
      else known.push(unit)
    }
    return [...tables.values()]
  }

  async #pack(
    units: readonly number[],
    { guest }: DiskWindow,
    slot: OnePassSlot,
    isOnly: boolean,
    firstUnit: number,
  ): Promise<PackedBatch> {
    const { layout, pool } = this.#pass
    const { unitSize } = layout.units
    const packing = { ...layout.packing, firstUnit }
    const ops = new Float64Array(units.length * OP_WIDTH)
    units.forEach((unit, i) => {
      ops.set([OpKind.stored, i * unitSize, unitSize, unit * unitSize - guest, 0, 0, 0], i * OP_WIDTH)
    })
    const size = units.length * (packBound(unitSize) + frames[packing.frame].overhead)
    if (isOnly && slot.packed.byteLength < size) slot.packed = new SharedArrayBuffer(size)
    const buffer = isOnly ? slot.packed : new SharedArrayBuffer(size)
    const input = { bytes: new Uint8Array(slot.plain), runs: Float64Array.of(0, slot.plain.byteLength) }
    const task = {
      input,
      codecs: [],
      ops,
      literals: NOTHING,
      units: Float64Array.from(units),
      unitSize,
      packing,
      buffer,
    }
    return { ...(await pool.run('pack', task)), buffer }
  }

  async #deliver({ placed, length, crc32c, buffer }: PackedBatch): Promise<void> {
    const { units } = this.#pass.layout
    for (let row = 0; row < placed.length; row += PLACED_WIDTH) units.add(placed[row] as number)
    await this.#endBatch()
    const start = this.#output.position
    await this.#output.append(Buffer.from(buffer, 0, length), crc32c)
    this.#placed = shift(placed, start)
  }

  /** What follows the batch before: its table, when the units that are known now belong to another one. */
  async #endBatch(): Promise<void> {
    if (this.#placed === undefined) return
    await this.#output.append(this.#writer.place(this.#placed, this.#output.position))
    this.#placed = undefined
  }
}

const NOTHING = new Uint8Array(0)
