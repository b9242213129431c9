import { createHash } from 'node:crypto'
import { DiskferryError } from '../bytes/errors.ts'
import type { DiskImage, ExactLayout, Region } from '../formats/format.ts'
import type { WriterOptions } from '../formats/registry.ts'
import type { Source } from '../io/source.ts'
import { ExtentCursor } from './plan/extent-cursor.ts'
import { type FillPlan, FillPlanner } from './plan/fill-plan.ts'
import { type PlanOptions, planTarget } from './plan-target.ts'
import type { Planned } from './prepared.ts'
import { runFill } from './transfer/transfer.ts'

/** A converted image that is made where it is read: a source like any other. */
export interface ConvertedView extends Source {
  readonly name: string
  /** Stands for every byte of it; another one when source or options are others. 64 hexadecimal digits. */
  readonly version: string
  /** Whether `version` rests on all that is read: the one source's entity tag, or its file's time of change. */
  readonly isVersionStrong: boolean
  assertUnchanged(): Promise<void>
  close(): Promise<void>
}

/**
 * The image that `convert` would write with these options, byte for byte, without writing it. Takes the survey that a
 * conversion begins with, and keeps its layout: some 150 bytes for each run of it. May be read at any offset, by many at
 * once. Closing it closes what was opened for it.
 * @throws DiskferryError `target-unfit` when the target's units are packed, so that their places are not known before
 */
export async function convertedView<T extends keyof WriterOptions>(options: PlanOptions<T>): Promise<ConvertedView> {
  const planned = await planTarget(options)
  const { layout } = planned.job
  if (layout.kind === 'exact') return viewOf(planned, layout)
  await planned.close()
  throw packed(options.to, layout.variant)
}

function packed(to: string, variant: string): DiskferryError {
  return new DiskferryError('target-unfit', `a ${to} with packed units can only be made front to back`, {
    found: variant,
    hint: 'choose a variant without compression: raw, vhd, qcow2',
  })
}

function viewOf(planned: Planned, layout: ExactLayout): ConvertedView {
  const { job, source, seed, to, close } = planned
  const regions = [...layout.regions()]
  const version = createHash('sha256')
    .update(seed)
    .update(source.version ?? '')
    .digest('hex')
  return {
    size: layout.size,
    name: `${source.name ?? 'source'} as ${to}`,
    version,
    isVersionStrong: source.version !== undefined && job.image.source === source,
    async read(offset, length) {
      const end = Math.min(offset + length, layout.size)
      return end > offset ? make(planned, await planOf(planned, regions, offset, end)) : new Uint8Array(0)
    },
    async assertUnchanged() {
      await source.assertUnchanged?.()
      if (job.image.source !== source) await job.image.source.assertUnchanged?.()
    },
    close,
  }
}

/** One plan for bytes `offset` to `end` of the target. */
async function planOf({ job }: Planned, regions: readonly Region[], offset: number, end: number): Promise<FillPlan> {
  const planner = new FillPlanner({ chunkSize: Number.POSITIVE_INFINITY, sparse: false })
  for (let index = regionAt(regions, offset); index < regions.length; index++) {
    const region = regions[index] as Region
    if (region.offset >= end) break
    const from = Math.max(offset, region.offset) - region.offset
    const to = Math.min(end, region.offset + region.length) - region.offset
    if (region.kind === 'bytes') exhaust(planner.bytes(region.bytes().subarray(from, to)))
    else if (region.kind === 'zero') exhaust(planner.zeros(to - from))
    else await planGuest(planner, job.image, region.guest + from, to - from)
  }
  const [plan] = planner.rest()
  return plan as FillPlan
}

async function planGuest(planner: FillPlanner, image: DiskImage, guest: number, length: number): Promise<void> {
  const within = Math.max(0, Math.min(length, image.virtualSize - guest))
  if (within > 0) {
    const cursor = new ExtentCursor(image, guest, guest + within)
    try {
      for await (const piece of cursor.pieces(guest, within)) exhaust(planner.piece(piece))
    } finally {
      await cursor.close()
    }
  }
  if (within < length) exhaust(planner.zeros(length - within))
}

/** A chunk without bounds is never full: nothing comes before the rest. */
function exhaust(plans: Iterable<FillPlan>): void {
  for (const _ of plans);
}

/** Index of the region that holds byte `offset`. */
function regionAt(regions: readonly Region[], offset: number): number {
  let low = 0
  let high = regions.length - 1
  while (low < high) {
    const middle = (low + high + 1) >>> 1
    if ((regions[middle] as Region).offset <= offset) low = middle
    else high = middle - 1
  }
  return low
}

async function make({ job }: Planned, plan: FillPlan): Promise<Uint8Array> {
  const buffer = new SharedArrayBuffer(plan.madeBytes)
  await runFill(job, plan, { buffer })
  return Buffer.from(buffer)
}
