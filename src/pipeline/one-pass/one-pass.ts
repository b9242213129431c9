import { tooLarge } from '../../bytes/errors.ts'
import { MiB } from '../../bytes/units.ts'
import type { DiskStream } from '../../formats/format.ts'
import type { Sink, Summary } from '../../io/sink.ts'
import { forEachPlan } from '../job.ts'
import type { Pool } from '../pool.ts'
import type { ProgressMeter } from '../progress.ts'
import { type FillResult, type FillTask, OP_WIDTH } from '../tasks/tasks.ts'
import { WorkWindow } from '../transfer/window.ts'
import { type DiskWindow, diskWindows } from './disk-windows.ts'

/** Guest bytes that are made at once, at least. A multiple of every target's units. */
const LEAST_WINDOW = 2 * MiB

/** A conversion that sees each byte of its source once, in order. */
export interface OnePassJob {
  readonly stream: DiskStream
  readonly pool: Pool
  readonly meter: ProgressMeter
  readonly signal: AbortSignal | undefined
  /** Guest bytes at most. */
  readonly limit: number
}

/** Memory that goes round, made when it is first needed. */
export interface OnePassSlot {
  staged: SharedArrayBuffer
  plain: SharedArrayBuffer
  packed: SharedArrayBuffer
}
const NO_MEMORY = new SharedArrayBuffer(0)

/** What makes the target of windows. */
export interface WindowConsumer {
  readonly windowSize: number
  begin(): Promise<void>
  /**
   * Called in the order of windows, before `filled` settles, which is when the window's bytes are in `slot.plain`. Gives
   * what puts them into the target, which runs in the order of windows, and after which the slot is used again.
   */
  prepare(window: DiskWindow, slot: OnePassSlot, filled: Promise<FillResult>): Promise<() => Promise<void>>
  /** All windows are in the target; guest bytes ended at `end`. */
  end(end: number): Promise<Summary>
}

export interface OnePassResult {
  readonly summary: Summary
  /** Guest bytes that came. */
  readonly dataBytes: number
  /** Guest bytes of the disk. */
  readonly diskSize: number
}

/** No window is smaller than a unit that the source packs. */
export function windowSizeFor({ codecs }: DiskStream): number {
  return Math.max(LEAST_WINDOW, ...codecs.map(({ unitSize }) => unitSize))
}

/** Reads the stream once, and has windows made and put into the target. */
export async function onePass(job: OnePassJob, consumer: WindowConsumer, sink: Sink): Promise<OnePassResult> {
  const { stream, pool, signal, meter } = job
  const slots = Array.from({ length: pool.threads + 3 }, () => ({
    staged: NO_MEMORY,
    plain: new SharedArrayBuffer(consumer.windowSize),
    packed: NO_MEMORY,
  }))
  const work = new WorkWindow<OnePassSlot>(slots, signal, (error) => sink.kind === 'stream' && sink.stop(error))
  let turn: Promise<void> = consumer.begin()
  let dataBytes = 0
  let end = stream.virtualSize ?? 0

  const start = (window: DiskWindow) =>
    work.start(async (slot) => {
      if (window.end > job.limit) throw pastLimit(window.end, job)
      const before = turn
      const filled = pool.run('fill', fillTask(stream, window, slot, consumer.windowSize))
      const deliver = consumer.prepare(window, slot, filled)
      turn = deliver.then(async (put) => {
        await before
        await put()
        meter.add(window.dataBytes, window.byteLength)
      })
      dataBytes += window.dataBytes
      if (stream.virtualSize === undefined) end = window.end
      await turn
    })
  let summary: Summary | undefined
  await forEachPlan(diskWindows(stream, consumer.windowSize), work, signal, start, async () => {
    await turn
    summary = await consumer.end(end)
  })
  return { summary: summary as Summary, dataBytes, diskSize: end }
}

function fillTask(stream: DiskStream, window: DiskWindow, slot: OnePassSlot, windowSize: number): FillTask {
  const { ops, runs, parts, byteLength, length } = window
  if (slot.staged.byteLength < byteLength) slot.staged = new SharedArrayBuffer(Math.max(byteLength, windowSize))
  const bytes = new Uint8Array(slot.staged)
  let at = 0
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  return {
    input: { bytes, runs },
    codecs: stream.codecs,
    start: 0,
    end: length,
    ops,
    literals: NOTHING,
    segments: Float64Array.of(0, length, 0),
    steps: Float64Array.of(ops.length / OP_WIDTH, 1),
    output: { buffer: slot.plain },
  }
}

const NOTHING = new Uint8Array(0)

function pastLimit(found: number, { limit, stream }: OnePassJob): Error {
  return tooLarge(`the ${stream.format} stream`, {
    found: `more than ${found} bytes of disk`,
    expected: `at most ${limit}`,
    hint: 'if the disk is that large, say how large it is (--disk-size, option diskSize)',
  })
}
