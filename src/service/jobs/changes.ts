import { EventEmitter, on } from 'node:events'
import { hasEnded, type JobRecord } from './job.ts'

/** Tells whoever watches a job that it has changed. */
export class Changes {
  readonly #emitter = new EventEmitter().setMaxListeners(0)

  tell({ id }: { readonly id: string }): void {
    this.#emitter.emit(id)
  }

  /** Some may have changed, nobody knows which. */
  tellAll(): void {
    for (const id of this.#emitter.eventNames()) this.#emitter.emit(id)
  }

  /** The job as `look` sees it, then after each change up to its end. Changes in between are seen as one. */
  async *watch(
    id: string,
    look: () => Promise<JobRecord | undefined>,
    signal?: AbortSignal,
  ): AsyncGenerator<JobRecord> {
    const events = on(this.#emitter, id, signal === undefined ? {} : { signal })
    try {
      let last: JobRecord | undefined
      while (signal?.aborted !== true) {
        const job = await look()
        if (job === undefined) return
        if (job !== last) yield job
        last = job
        if (hasEnded(job)) return
        await events.next()
      }
    } catch (error) {
      if (signal?.aborted !== true) throw error
    } finally {
      await events.return?.()
    }
  }
}
