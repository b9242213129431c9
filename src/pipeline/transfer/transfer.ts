import { combineCrc32c, crc32cOfZeros } from '../../bytes/crc32c.ts'
import { MiB } from '../../bytes/units.ts'
import type { ExactLayout } from '../../formats/format.ts'
import type { KeptRun, PositionedSink, Sink, StreamSink, Summary } from '../../io/sink.ts'
import { isAllFiles } from '../../io/source.ts'
import { forEachPlan, type Job } from '../job.ts'
import { type FillPlan, LEAST_FULL } from '../plan/fill-plan.ts'
import { fillPlans, violated } from '../plan/plans.ts'
import { type StagedWork, withInput } from '../plan/stage.ts'
import type { FillResult, FillTask } from '../tasks/tasks.ts'
import { transferPacked } from './transfer-packed.ts'
import { WorkWindow } from './window.ts'

/** Bytes of the target that one task makes: enough to hide what a message costs. */
const CHUNK_SIZE = 8 * MiB
/** The same where its source is read here first, and held in memory, or where nothing else runs while a task does. */
const SMALL_CHUNK_SIZE = 2 * MiB
/** What a thread reads, sums and writes at once: it stays in the processor's cache in between. */
const STEP_SIZE = MiB
const STREAM_CHUNK_SIZE = 2 * MiB

/** Moves every byte of the layout into the sink. Neither finishes the sink nor aborts it. */
export function transfer(job: Job, sink: Sink): Promise<Summary> {
  const { layout } = job
  if (layout.kind === 'packed') return transferPacked({ ...job, layout }, sink)
  const exact = { ...job, layout }
  return sink.kind === 'positioned' ? transferPositioned(exact, sink) : transferStream(exact, sink)
}

/** Workers write for themselves, in whatever order they end. */
async function transferPositioned(job: Job<ExactLayout>, sink: PositionedSink): Promise<Summary> {
  const { pool, signal } = job
  const checksums = new ChecksumChain()
  const window = new WorkWindow(Array(pool.threads + 2).keys(), signal)
  const keepSmall = pool.threads === 0 || !isAllFiles(job.image.source)
  const chunkSize = keepSmall ? SMALL_CHUNK_SIZE : CHUNK_SIZE
  // A packed unit that two steps share is unpacked by both.
  const stepSize = Math.max(STEP_SIZE, ...(job.image.codecs ?? []).map(({ unitSize }) => unitSize))
  const output = { fd: sink.fd, name: sink.name, stepSize, keepZeros: job.keepZeros }
  const plans = fillPlans(job.image, job.layout, { chunkSize, stepSize, sparse: true })
  await forEachPlan(plans, window, signal, async (plan) => {
    const turn = checksums.turn(plan)
    if (plan.segments.length === 0) {
      turn.resolve(crc32cOfZeros(plan.end - plan.start))
      return
    }
    await window.start(async () => {
      const { crc32c } = await runFill({ ...job, window }, plan, output)
      turn.resolve(crc32c)
      job.meter.add(plan.dataBytes, plan.madeBytes)
    })
  })
  return checksums.summary(job.layout)
}

/** Workers fill buffers, which go round: from here to a worker, to the sink, and back. */
async function transferStream(job: Job<ExactLayout>, sink: StreamSink): Promise<Summary> {
  const { pool, signal } = job
  const checksums = new ChecksumChain()
  const buffers = bufferCount(pool.threads, sink)
  const window = new WorkWindow<Slot>(
    Array.from({ length: buffers }, () => ({ buffer: undefined })),
    signal,
    (error) => sink.stop(error),
  )
  let turn: Promise<unknown> = Promise.resolve()
  const options = { chunkSize: STREAM_CHUNK_SIZE, sparse: false, partSize: sink.partSize }
  const plans = fillPlans(job.image, job.layout, options)
  /** What is there already is neither read nor made. */
  const pass = (run: KeptRun) =>
    window.start(async () => {
      turn = turn.then(() => sink.pass?.(run))
      await turn
      checksums.turn({ start: run.offset, end: run.offset + run.length }).resolve(run.crc32c)
    })
  const work = async (plan: FillPlan) => {
    const kept = sink.kept?.(plan.start)
    if (kept !== undefined) {
      if (plan.start === kept.offset) await pass(kept)
      return job.meter.add(plan.dataBytes, plan.madeBytes)
    }
    const checksum = checksums.turn(plan)
    await window.start(async (slot) => {
      slot.buffer ??= new SharedArrayBuffer(STREAM_CHUNK_SIZE)
      const { buffer } = slot
      const before = turn
      const made = runFill({ ...job, window }, plan, { buffer })
      const written = made.then(async ({ crc32c }) => {
        await before
        checksum.resolve(crc32c)
        const bytes = Buffer.from(buffer, 0, plan.madeBytes)
        return { done: sink.write({ offset: plan.start, bytes, crc32c }) }
      })
      turn = written
      await (await written).done
      job.meter.add(plan.dataBytes, plan.madeBytes)
    })
  }
  await forEachPlan(plans, window, signal, work, async () => {
    await turn
    sink.end()
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

/** Makes one plan's bytes in the pool. */
export function runFill(work: StagedWork, plan: FillPlan, output: FillTask['output']): Promise<FillResult> {
  const { start, end, ops, literals, segments, steps, runs } = plan
  const codecs = work.image.codecs ?? []
  return withInput(work, runs, (input) =>
    work.pool.run('fill', { input, codecs, start, end, ops, literals, segments, steps, output }),
  )
}

/** Joins the checksums of runs that are made in any order, in the order of the target. */
class ChecksumChain {
  #crc = 0
  #next = 0
  readonly #waiting = new Map<number, { end: number; crc32c: number }>()

  turn({ start, end }: Pick<FillPlan, 'start' | 'end'>): { resolve(crc32c: number): void } {
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
  summary({ size }: ExactLayout): Summary {
    if (this.#next !== size) throw violated('what was covered by a checksum', this.#next, size)
    return { size, crc32c: this.#crc }
  }
}
