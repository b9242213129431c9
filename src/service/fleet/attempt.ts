import { performance } from 'node:perf_hooks'
import type { JobProgress } from '../jobs/job.ts'
import { JobCancelled, JobInterrupted } from '../jobs/queue.ts'
import type { JobStore } from './store.ts'

/** Someone else has the job, or may have it: nothing that this attempt finds out counts. */
export class AttemptLost extends JobInterrupted {
  override readonly name = 'JobInterrupted'
}

/** Progress is passed on at most so often. */
const BEAT_MS = 500

/**
 * Keeps an attempt's place while it runs: passes its progress on, hears that it was cancelled, and stops it when its
 * place is lost, or might be: a worker that does not reach Redis for as long as a lock lasts must assume the worst.
 */
export class Attempt {
  readonly id: string
  readonly token: string
  readonly #store: JobStore
  readonly #lockMs: number
  readonly #abort = new AbortController()
  readonly #timer: NodeJS.Timeout
  #progress: JobProgress = { percent: 0, task: 'starting' }
  #lastHeard = performance.now()
  #beating = false

  constructor(id: string, token: string, { store, lockMs }: { store: JobStore; lockMs: number }) {
    this.id = id
    this.token = token
    this.#store = store
    this.#lockMs = lockMs
    this.#timer = setInterval(() => void this.#beat(), Math.min(BEAT_MS, lockMs / 4))
  }

  get signal(): AbortSignal {
    return this.#abort.signal
  }

  stop(reason: unknown): void {
    this.#abort.abort(reason)
  }

  report(progress: JobProgress): void {
    if (progress.percent >= this.#progress.percent) this.#progress = progress
  }

  async #beat(): Promise<void> {
    if (performance.now() - this.#lastHeard > this.#lockMs) this.stop(new AttemptLost())
    if (this.#beating) return
    this.#beating = true
    const asked = performance.now()
    try {
      const answer = await this.#store.beat(this.id, this.token, this.#progress)
      this.#lastHeard = asked
      if (answer === 'lost') this.stop(new AttemptLost())
      if (answer === 'cancel') this.stop(new JobCancelled())
    } catch {
      // Not heard: the time since the last answer tells.
    } finally {
      this.#beating = false
    }
  }

  /** It runs no more. */
  end(): void {
    clearInterval(this.#timer)
  }
}
