import { DiskferryError } from '../../bytes/errors.ts'
import { packBound } from '../../bytes/pack.ts'
import { type PackedLayout, PLACED_WIDTH, type PlacedUnits } from '../../formats/format.ts'
import { frames } from '../../formats/frames.ts'
import type { Sink, Summary } from '../../io/sink.ts'
import { forEachPlan, type Job } from '../job.ts'
import { batchUnits, type PackPlan, packPlans, violated } from '../plan/plans.ts'
import { type StagedWork, withInput } from '../plan/stage.ts'
import type { PackResult } from '../tasks/tasks.ts'
import { outputTo } from './output.ts'
import { WorkWindow } from './window.ts'

/**
 * Packs units in parallel and writes them in order: only when everything before a unit has been made is it known where
 * the unit lies.
 */
export async function transferPacked(job: Job<PackedLayout>, sink: Sink): Promise<Summary> {
  const { image, layout, pool, signal, meter } = job
  if (layout.lateHead > 0 && sink.kind === 'stream' && sink.head === undefined) throw needsLateHead()
  const output = outputTo(sink)
  const writer = layout.writer()
  const slots = Array.from({ length: pool.threads + 3 }, (): PackSlot => ({ buffer: undefined }))
  const window = new WorkWindow<PackSlot>(slots, signal, (error) => sink.kind === 'stream' && sink.stop(error))
  let turn: Promise<void> = output.append(writer.begin())

  /** Runs in the order of the units. */
  const deliver = async ({ placed, length, crc32c }: PackResult, buffer: SharedArrayBuffer): Promise<void> => {
    const start = output.position
    await output.append(Buffer.from(buffer, 0, length), crc32c)
    await output.append(writer.place(shift(placed, start), output.position))
  }

  const work = (plan: PackPlan) =>
    window.start(async (slot) => {
      slot.buffer ??= new SharedArrayBuffer(slotSize(layout))
      const { buffer } = slot
      const before = turn
      const packed = runPack({ ...job, window }, plan, buffer)
      turn = packed.then(async (result) => {
        await before
        await deliver(result, buffer)
        meter.add(plan.fill.dataBytes, result.length)
      })
      await turn
    })
  await forEachPlan(packPlans(image, layout), window, signal, work, async () => {
    await turn
    await output.append(writer.end(output.position))
    await output.end(writer.head?.())
  })
  if (output.position > layout.sizeAtMost) throw violated('the end', output.position, layout.sizeAtMost)
  return { size: output.position, crc32c: output.crc32c }
}

/** Memory for one batch of packed units, made when it is first needed. */
interface PackSlot {
  buffer: SharedArrayBuffer | undefined
}

function slotSize(layout: PackedLayout): number {
  const { units, packing } = layout
  return batchUnits(layout) * (packBound(units.unitSize) + frames[packing.frame].overhead)
}

function runPack(
  job: Job<PackedLayout> & StagedWork,
  { units, fill }: PackPlan,
  buffer: SharedArrayBuffer,
): Promise<PackResult> {
  const { image, layout, pool } = job
  const { ops, literals, runs } = fill
  const codecs = image.codecs ?? []
  const task = { codecs, ops, literals, units, unitSize: layout.units.unitSize, packing: layout.packing, buffer }
  return withInput(job, runs, (input) => pool.run('pack', { ...task, input }))
}

/** The same units, when what they were placed in begins at `by`. */
export function shift(placed: PlacedUnits, by: number): PlacedUnits {
  for (let row = 0; row < placed.length; row += PLACED_WIDTH) placed[row + 1] = (placed[row + 1] as number) + by
  return placed
}

export function needsLateHead(): DiskferryError {
  return new DiskferryError(
    'target-unfit',
    "this format's header depends on everything behind it: a stream can't hold it",
    {
      hint: 'write to a file or into S3, or choose a format that streams (vmdk, zvhd, zvhd2, or without compression)',
    },
  )
}
