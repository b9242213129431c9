import { performance } from 'node:perf_hooks'

export type Phase = 'survey' | 'transfer' | 'finish'

/** How far a conversion is. */
export interface Progress {
  /** `survey` finds what there is to do, `transfer` moves it, `finish` waits for the target to have it. */
  readonly phase: Phase
  /** Bytes of the phase's work that are done, of `total`: guest bytes looked through, then bytes of source data. */
  readonly done: number
  readonly total: number
  /** Bytes of the target made so far. */
  readonly bytesWritten: number
  /** `done` by second, over the phase so far. */
  readonly bytesPerSecond: number
  /** Left in this phase, at that rate; undefined while there is none. */
  readonly etaSeconds: number | undefined
}

export type ProgressListener = (progress: Progress) => void

/** At most so often is a listener called within a phase. */
const INTERVAL_MS = 100

/** Counts, and tells the listener now and then: at each phase's beginning and end, and in between at intervals. */
export class ProgressMeter {
  readonly #listener: ProgressListener | undefined
  #phase: Phase = 'survey'
  #done = 0
  #total = 0
  #bytesWritten = 0
  #phaseStart = 0
  #lastTold = 0

  constructor(listener: ProgressListener | undefined) {
    this.#listener = listener
  }

  begin(phase: Phase, total: number): void {
    if (this.#phaseStart > 0) this.end()
    this.#phase = phase
    this.#done = 0
    this.#total = total
    this.#phaseStart = performance.now()
    this.#tell()
  }

  add(done: number, written = 0): void {
    this.#done += done
    this.#bytesWritten += written
    if (performance.now() - this.#lastTold >= INTERVAL_MS) this.#tell()
  }

  /** The phase is over. What it did not need to touch, zeros behind the last data, is done as well. */
  end(): void {
    this.#done = this.#total
    this.#tell()
  }

  #tell(): void {
    if (this.#listener === undefined) return
    this.#lastTold = performance.now()
    const seconds = (this.#lastTold - this.#phaseStart) / 1000
    const bytesPerSecond = seconds > 0 ? this.#done / seconds : 0
    this.#listener({
      phase: this.#phase,
      done: this.#done,
      total: this.#total,
      bytesWritten: this.#bytesWritten,
      bytesPerSecond,
      etaSeconds: bytesPerSecond > 0 ? (this.#total - this.#done) / bytesPerSecond : undefined,
    })
  }
}
