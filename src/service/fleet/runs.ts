import { randomUUID } from 'node:crypto'
import { errorOf, JobCancelled, JobFailure, JobInterrupted, type JobRunner } from '../jobs/queue.ts'
import { Attempt, AttemptLost } from './attempt.ts'
import type { Disposition } from './dispatch.ts'
import type { Begun, JobStore } from './store.ts'

export interface RunsOptions {
  readonly store: JobStore
  readonly run: JobRunner
  readonly lockMs: number
  /** Attempts that may fail before the job does. */
  readonly mostFailures: number
  /** Workers that a job may lose before it is given up: it may be what they die of. */
  readonly mostLost: number
  readonly onError: (error: unknown) => void
}

/** The attempts that run in this process. */
export class Runs {
  readonly #options: RunsOptions
  readonly #attempts = new Map<string, Attempt>()
  #interrupted = false

  constructor(options: RunsOptions) {
    this.#options = options
  }

  cancel(id: string): void {
    this.#attempts.get(id)?.stop(new JobCancelled())
  }

  /** Those that run, and any that was on its way here. */
  interrupt(): void {
    this.#interrupted = true
    for (const attempt of this.#attempts.values()) attempt.stop(new JobInterrupted())
  }

  async process(id: string): Promise<Disposition> {
    const { store } = this.#options
    const token = randomUUID()
    if (this.#interrupted) return 'again'
    const begun = await store.begin(id, token)
    if (begun === undefined) return 'done'
    const attempt = new Attempt(id, token, this.#options)
    this.#attempts.set(id, attempt)
    try {
      if (this.#interrupted) return await this.#putBack(attempt, { task: 'waiting', failed: false })
      return await this.#run(begun, attempt)
    } finally {
      attempt.end()
      if (this.#attempts.get(id) === attempt) this.#attempts.delete(id)
    }
  }

  /** One that was given up, or cancelled while nobody ran it, is begun all the same: the runner cleans up after the last. */
  async #run(begun: Begun, attempt: Attempt): Promise<Disposition> {
    const { store, run, mostLost } = this.#options
    if (begun.lost > mostLost) attempt.stop(new JobFailure('IMG.0061', `its worker was lost ${begun.lost} times`))
    if (begun.cancelled) attempt.stop(new JobCancelled())
    const context = {
      attempt: begun.attempt,
      signal: attempt.signal,
      report: attempt.report.bind(attempt),
    }
    try {
      const value = await run(begun.job, context)
      await store.end(attempt.id, attempt.token, { state: 'SUCCESS', value })
      return 'done'
    } catch (error) {
      return this.#failed(error, begun, attempt)
    }
  }

  async #failed(error: unknown, begun: Begun, attempt: Attempt): Promise<Disposition> {
    const { reason } = attempt.signal
    if (reason instanceof AttemptLost) return 'gone'
    if (reason instanceof JobInterrupted) return this.#putBack(attempt, { task: 'waiting', failed: false })
    if (reason === undefined) this.#options.onError(error)
    const mayRetry = reason === undefined && error instanceof JobFailure && error.mayRetry
    if (mayRetry && begun.failed + 1 < this.#options.mostFailures)
      return this.#putBack(attempt, { task: 'waiting to be tried again', failed: true })
    return this.#end(error, attempt)
  }

  async #end(error: unknown, { id, token }: Attempt): Promise<Disposition> {
    await this.#options.store.end(id, token, { state: 'FAIL', value: errorOf(error) })
    return 'done'
  }

  async #putBack(attempt: Attempt, how: { task: string; failed: boolean }): Promise<Disposition> {
    const answer = await this.#options.store.putBack(attempt.id, attempt.token, how)
    if (answer === 'cancel') return this.#end(new JobCancelled(), attempt)
    if (answer === 'lost') return 'gone'
    return how.failed ? 'later' : 'again'
  }
}
