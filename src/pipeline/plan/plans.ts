import { DiskferryError } from '../../bytes/errors.ts'
import { MiB } from '../../bytes/units.ts'
import type { DiskImage, ExactLayout, PackedLayout, Region } from '../../formats/format.ts'
import { ExtentCursor } from './extent-cursor.ts'
import { type FillPlan, FillPlanner, type FillPlanOptions } from './fill-plan.ts'

/** Cuts an exact layout into tasks, front to back. Guest bytes are looked up as they are needed. */
export async function* fillPlans(
  image: DiskImage,
  layout: ExactLayout,
  options: FillPlanOptions,
): AsyncGenerator<FillPlan> {
  const planner = new FillPlanner(options)
  const cursor = new ExtentCursor(image)
  try {
    for (const region of layout.regions()) {
      assertPosition(region, planner.position)
      if (region.kind === 'bytes') yield* planner.bytes(regionBytes(region))
      else if (region.kind === 'zero') yield* planner.zeros(region.length)
      else for await (const piece of cursor.pieces(region.guest, region.length)) yield* planner.piece(piece)
      planner.skip(cursor.takeSkipped())
    }
  } finally {
    await cursor.close()
  }
  yield* planner.rest()
  if (planner.position !== layout.size) throw violated('the end', planner.position, layout.size)
}

function assertPosition(region: Region, position: number): void {
  if (region.offset !== position) throw violated(region.name, position, region.offset)
}

function regionBytes(region: Region & { kind: 'bytes' }): Uint8Array {
  const bytes = region.bytes()
  if (bytes.length !== region.length) throw violated(`the length of ${region.name}`, bytes.length, region.length)
  return bytes
}

export function violated(what: string, found: number, expected: number): DiskferryError {
  const message = `the target's layout is broken: ${what} is at ${found} instead of ${expected}`
  return new DiskferryError('plan-violated', message, { found, expected })
}

/** Units that are packed by one task, and how their bytes are read. */
export interface PackPlan {
  readonly units: Float64Array
  readonly fill: FillPlan
}

/** Guest bytes that one task packs, at least: large enough to hide what a message costs. */
const PACK_BYTES = MiB

/** Units in one batch. */
export function batchUnits({ units }: Pick<PackedLayout, 'units'>): number {
  return Math.max(1, Math.floor(PACK_BYTES / units.unitSize))
}

/** Cuts units that hold data into batches, none of which crosses the end of a table. */
export async function* packPlans(
  image: DiskImage,
  layout: Pick<PackedLayout, 'units' | 'tableSpan'>,
): AsyncGenerator<PackPlan> {
  const { units, tableSpan = Number.POSITIVE_INFINITY } = layout
  const most = batchUnits(layout)
  const cursor = new ExtentCursor(image)
  try {
    for (let unit = units.next(0); unit < units.length; ) {
      const batch: number[] = []
      const tableEnd = (Math.floor(unit / tableSpan) + 1) * tableSpan
      for (; unit < Math.min(units.length, tableEnd) && batch.length < most; unit = units.next(unit + 1))
        batch.push(unit)
      yield { units: Float64Array.from(batch), fill: await fillBatch(cursor, batch, units.unitSize) }
    }
  } finally {
    await cursor.close()
  }
}

/** One plan that puts the units one behind the other. It is as large as they are, so it is never cut. */
async function fillBatch(cursor: ExtentCursor, batch: readonly number[], unitSize: number): Promise<FillPlan> {
  const planner = new FillPlanner({ chunkSize: Number.POSITIVE_INFINITY, sparse: false })
  for (const unit of batch) {
    for await (const piece of cursor.pieces(unit * unitSize, unitSize)) for (const _ of planner.piece(piece));
  }
  planner.skip(cursor.takeSkipped())
  const [plan] = planner.rest()
  if (plan === undefined) throw violated('a batch of units', 0, batch.length * unitSize)
  return plan
}
