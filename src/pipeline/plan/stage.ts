import { alignUp, MiB } from '../../bytes/units.ts'
import type { DiskImage } from '../../formats/format.ts'
import { Limiter } from '../../io/remote/limiter.ts'
import { reachOf, readInto, type Source } from '../../io/source.ts'
import type { Pool } from '../pool.ts'
import { STAGED_WIDTH, type StagedInput, type TaskInput } from '../tasks/tasks.ts'
import type { WorkWindow } from '../transfer/window.ts'

/** Collects the runs of the source that a task needs; runs that follow one another or overlap become one. */
export class RunCollector {
  readonly #runs: number[] = []

  add(host: number, length: number): void {
    const last = this.#runs.length - STAGED_WIDTH
    const lastHost = this.#runs[last] ?? Number.NaN
    const reach = lastHost + (this.#runs[last + 1] ?? 0)
    if (host >= lastHost && host <= reach) {
      const grown = Math.max(reach, host + length) - lastHost
      this.#runs[last + 1] = grown
    } else {
      this.#runs.push(host, length)
    }
  }

  take(): Float64Array {
    const runs = Float64Array.from(this.#runs)
    this.#runs.length = 0
    return runs
  }
}

/**
 * Gives a task its way to the source, for as long as it runs: files, or bytes read here and now, since a source of the
 * caller's own lives on this thread only. No more of these are held than keep the pool busy.
 */
export async function withInput<T>(
  { image, pool, window }: StagedWork,
  runs: Float64Array,
  use: (input: TaskInput) => Promise<T>,
): Promise<T> {
  const { files } = image.source
  if (files !== undefined && endOf(runs) <= reachOf(files)) return use({ files })
  const area = areas.get(image) ?? new StagingArea(pool.threads + 2)
  areas.set(image, area)
  return area.with(lengthOf(runs), async (memory) => {
    window?.throwIfStopped()
    return use(await stageRuns(image.source, runs, memory))
  })
}

/** What a task belongs to. */
export interface StagedWork {
  readonly image: DiskImage
  readonly pool: Pool
  /** Once it is stopped, nothing more is read for what waits. */
  readonly window?: Pick<WorkWindow<unknown>, 'throwIfStopped'>
}

const areas = new WeakMap<DiskImage, StagingArea>()

/**
 * Memory for staged bytes, used again by the next task: a thread lets go of what it was shown only when its own collector
 * runs, which with so little to do it hardly ever does.
 */
class StagingArea {
  readonly #free: SharedArrayBuffer[] = []
  readonly #limiter: Limiter

  constructor(tasks: number) {
    this.#limiter = new Limiter(tasks)
  }

  with<T>(length: number, use: (memory: SharedArrayBuffer) => Promise<T>): Promise<T> {
    return this.#limiter.run(async () => {
      const memory = this.#take(length)
      try {
        return await use(memory)
      } finally {
        this.#free.push(memory)
      }
    })
  }

  /** What is free and large enough; what is too small makes way for what is not. */
  #take(length: number): SharedArrayBuffer {
    const index = this.#free.findIndex(({ byteLength }) => byteLength >= length)
    const [found] = this.#free.splice(Math.max(index, 0), 1)
    return index >= 0 && found !== undefined ? found : new SharedArrayBuffer(alignUp(length, MiB))
  }
}

function endOf(runs: Float64Array): number {
  let end = 0
  for (let row = 0; row < runs.length; row += STAGED_WIDTH) {
    end = Math.max(end, (runs[row] as number) + (runs[row + 1] as number))
  }
  return end
}

function lengthOf(runs: Float64Array): number {
  let total = 0
  for (let row = 0; row < runs.length; row += STAGED_WIDTH) total += runs[row + 1] as number
  return total
}

async function stageRuns(source: Source, runs: Float64Array, into: SharedArrayBuffer): Promise<StagedInput> {
  const bytes = new Uint8Array(into)
  let at = 0
  for (let row = 0; row < runs.length; row += STAGED_WIDTH) {
    const [host = 0, length = 0] = runs.subarray(row, row + STAGED_WIDTH)
    await readInto(source, host, bytes.subarray(at, at + length))
    at += length
  }
  return { bytes, runs }
}
