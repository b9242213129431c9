import { reachOf, readExactly, type Source } from '../../io/source.ts'
import { STAGED_WIDTH, type StagedInput, type TaskInput } from '../tasks/tasks.ts'

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
 * How a task gets at the source: from files, or from bytes read here and now, since a source of the caller's own lives
 * on this thread only.
 */
export async function taskInput(source: Source, runs: Float64Array): Promise<TaskInput> {
  if (source.files !== undefined && endOf(runs) <= reachOf(source.files)) return { files: source.files }
  return stageRuns(source, runs)
}

function endOf(runs: Float64Array): number {
  let end = 0
  for (let row = 0; row < runs.length; row += STAGED_WIDTH) {
    end = Math.max(end, (runs[row] as number) + (runs[row + 1] as number))
  }
  return end
}

async function stageRuns(source: Source, runs: Float64Array): Promise<StagedInput> {
  let total = 0
  for (let row = 0; row < runs.length; row += STAGED_WIDTH) total += runs[row + 1] as number
  const bytes = new Uint8Array(new SharedArrayBuffer(total))
  let at = 0
  for (let row = 0; row < runs.length; row += STAGED_WIDTH) {
    const [host = 0, length = 0] = runs.subarray(row, row + STAGED_WIDTH)
    bytes.set(await readExactly(source, host, length), at)
    at += length
  }
  return { bytes, runs }
}
