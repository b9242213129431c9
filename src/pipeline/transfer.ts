import { combineCrc32c, crc32cOfZeros } from '../bytes/crc32c.ts'
import { DiskferryError } from '../bytes/errors.ts'
import { MiB } from '../bytes/units.ts'
import type { DiskImage, Layout, Region } from '../formats/format.ts'
import type { PositionedSink, Sink, StreamSink, Summary } from '../io/sink.ts'
import { ExtentCursor } from './extent-cursor.ts'
import { type FillPlan, FillPlanner, type FillPlanOptions, LEAST_FULL } from './fill-plan.ts'
import type { Pool } from './pool.ts'
import type { ProgressMeter } from './progress.ts'
import { taskInput } from './stage.ts'
import type { FillTask } from './tasks.ts'
import { WorkWindow } from './window.ts'

/** Bytes of the target that one task makes: large enough to hide what a message costs, small enough for the cache. */
const CHUNK_SIZE = 2 * MiB
const STREAM_CHUNK_SIZE = MiB

export interface Job {
  readonly image: DiskImage
  readonly layout: Layout
  readonly pool: Pool
  readonly meter: ProgressMeter
  readonly signal: AbortSignal | undefined
}

/** Moves every byte of the layout into the sink. Neither finishes the sink nor aborts it. */
export function transfer(job: Job, sink: Sink): Promise<Summary> {
  return sink.kind === 'positioned' ? transferPositioned(job, sink) : transferStream(job, sink)
}

/** Workers write for themselves, in whatever order they end. */
async function transferPositioned(job: Job, sink: PositionedSink): Promise<Summary> {
  const { pool, signal } = job
  const checksums = new ChecksumChain()
  const window = new WorkWindow(Array(pool.threads + 2).keys(), signal)
  await forEachPlan(job, window, { chunkSize: CHUNK_SIZE, sparse: true }, async (plan) => {
    const turn = checksums.turn(plan)
    if (plan.segments.length === 0) {
      turn.resolve(crc32cOfZeros(plan.end - plan.start))
      return
    }
    await window.start(async () => {
      const { crc32c } = await pool.run('fill', await fillTask(job, plan, { fd: sink.fd, name: 'the target' }))
      turn.resolve(crc32c)
      job.meter.add(plan.dataBytes, plan.bufferLength)
    })
  })
  return checksums.summary(job.layout)
}

/** Workers fill buffers, which go round: from here to a worker, to the sink, and back. */
async function transferStream(job: Job, sink: StreamSink): Promise<Summary> {
  const { pool, signal } = job
  const checksums = new ChecksumChain()
  const buffers = bufferCount(pool.threads, sink)
  const window = new WorkWindow<Slot>(
    Array.from({ length: buffers }, () => ({ buffer: undefined })),
    signal,
  )
  let turn: Promise<unknown> = Promise.resolve()
  const options = { chunkSize: STREAM_CHUNK_SIZE, sparse: false, partSize: sink.partSize }
  await forEachPlan(job, window, options, async (plan) => {
    const checksum = checksums.turn(plan)
    await window.start(async (slot) => {
      slot.buffer ??= new SharedArrayBuffer(STREAM_CHUNK_SIZE)
      const made = pool.run('fill', await fillTask(job, plan, { buffer: slot.buffer }))
      const before = turn
      const written = made.then(async ({ crc32c }) => {
        await before
        checksum.resolve(crc32c)
        const bytes = Buffer.from(slot.buffer as SharedArrayBuffer, 0, plan.bufferLength)
        return { done: sink.write({ offset: plan.start, bytes, crc32c }) }
      })
      turn = written
      await (await written).done
      job.meter.add(plan.dataBytes, plan.bufferLength)
    })
  })
  return checksums.summary(job.layout)
}

/** Memory for one chunk, made when it is first needed. */
interface Slot {
  buffer: SharedArrayBuffer | undefined
}

/**
 * Enough for every worker and what waits for its turn, beside what the sink holds on to. Chunks are nearly full, but for
 * one at each part's end: with fewer buffers, a sink could wait for bytes that nobody has memory for.
 */
function bufferCount(threads: number, { holds, partSize = holds }: StreamSink): number {
  const partEnds = holds === 0 ? 0 : Math.ceil(holds / partSize)
  return threads + 2 + Math.ceil(holds / (STREAM_CHUNK_SIZE * LEAST_FULL)) + partEnds
}

/** Starts `work` for each plan, and waits for all of it. The first failure stops the rest, and is thrown. */
async function forEachPlan<T>(
  job: Job,
  window: WorkWindow<T>,
  options: FillPlanOptions,
  work: (plan: FillPlan) => Promise<void>,
): Promise<void> {
  try {
    for await (const plan of fillPlans(job, options)) {
      job.signal?.throwIfAborted()
      await work(plan)
    }
  } catch (error) {
    window.stop(error)
  }
  await window.finish()
}

async function* fillPlans({ image, layout }: Job, options: FillPlanOptions): AsyncGenerator<FillPlan> {
  const planner = new FillPlanner(options)
  const cursor = new ExtentCursor(image)
  try {
    for (const region of layout.regions()) {
      assertPosition(region, planner.position)
      if (region.kind === 'bytes') yield* planner.bytes(regionBytes(region))
      else if (region.kind === 'zero') yield* planner.zeros(region.length)
      else for await (const piece of cursor.pieces(region.guest, region.length)) yield* planner.piece(piece)
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

function violated(what: string, found: number, expected: number): DiskferryError {
  const message = `the target's layout is broken: ${what} is at ${found} instead of ${expected}`
  return new DiskferryError('plan-violated', message, { found, expected })
}

async function fillTask({ image }: Job, plan: FillPlan, output: FillTask['output']): Promise<FillTask> {
  const { start, end, ops, literals, segments, bufferLength, runs } = plan
  const input = await taskInput(image.source, runs)

  return { input, codecs: image.codecs ?? [], start, end, ops, literals, segments, bufferLength, output }
}

/** Joins the checksums of runs that are made in any order, in the order of the target. */
class ChecksumChain {
  #crc = 0
  #next = 0
  readonly #waiting = new Map<number, { end: number; crc32c: number }>()

  turn({ start, end }: FillPlan): { resolve(crc32c: number): void } {
    return {
      resolve: (crc32c) => {
        this.#waiting.set(start, { end, crc32c })
        this.#advance()
      },
    }
  }

  #advance(): void {
    for (let run = this.#waiting.get(this.#next); run !== undefined; run = this.#waiting.get(this.#next)) {
      this.#waiting.delete(this.#next)
      this.#crc = combineCrc32c(this.#crc, run.crc32c, run.end - this.#next)
      this.#next = run.end
    }
  }

  /** @throws DiskferryError `plan-violated` unless every byte was covered */
  summary({ size }: Layout): Summary {
    if (this.#next !== size) throw violated('what was covered by a checksum', this.#next, size)
    return { size, crc32c: this.#crc }
  }
}
