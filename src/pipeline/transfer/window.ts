/**
 * A fixed set of things that go round: whoever takes one gives it back. The set is the bound on memory and on work
 * under way; waiting for one is the backpressure.
 */
class Rounds<T> {
  readonly #free: T[]
  readonly #waiting: { resolve(item: T): void; reject(error: unknown): void }[] = []
  #failure: { error: unknown } | undefined
  readonly #onStop: (error: unknown) => void

  constructor(items: Iterable<T>, onStop: (error: unknown) => void) {
    this.#free = [...items]
    this.#onStop = onStop
  }

  /** The next free item. Rejects once the set has been stopped. */
  async take(): Promise<T> {
    if (this.#failure !== undefined) throw this.#failure.error
    const item = this.#free.pop()
    if (item !== undefined) return item
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }))
  }

  give(item: T): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#free.push(item)
    else next.resolve(item)
  }

  /** Everyone who waits, now or later, is told `error`. The first error stays. */
  stop(error: unknown): void {
    if (this.#failure !== undefined) return
    this.#failure = { error }
    for (const { reject } of this.#waiting.splice(0)) reject(error)
    this.#onStop(error)
  }

  get failure(): { readonly error: unknown } | undefined {
    return this.#failure
  }
}

/**
 * Runs work that is bounded by a set of items. The first failure stops the rest: what waits is told, what runs is
 * awaited, and `finish` rejects with it.
 */
export class WorkWindow<T> {
  readonly #items: Rounds<T>
  readonly #running = new Set<Promise<void>>()

  /** `onStop` is told the first failure at once: work that runs may be waiting for something that will not come now. */
  constructor(items: Iterable<T>, signal: AbortSignal | undefined, onStop: (error: unknown) => void = () => undefined) {
    this.#items = new Rounds(items, onStop)
    const stop = () => this.#items.stop(signal?.reason)
    if (signal?.aborted) stop()
    signal?.addEventListener('abort', stop, { once: true })
    this.#detach = () => signal?.removeEventListener('abort', stop)
  }

  readonly #detach: () => void

  /** Waits for a free item and starts `work` with it; the item is free again when the work's promise settles. */
  async start(work: (item: T) => Promise<void>): Promise<void> {
    const item = await this.#items.take()
    const running = work(item)
      .catch((error) => this.#items.stop(error))
      .finally(() => {
        this.#running.delete(running)
        this.#items.give(item)
      })
    this.#running.add(running)
  }

  /** Stops what has not begun. */
  stop(error: unknown): void {
    this.#items.stop(error)
  }

  /** Throws the first failure: for work that has begun and then waits for something else. */
  throwIfStopped(): void {
    if (this.#items.failure !== undefined) throw this.#items.failure.error
  }

  /** Waits until nothing runs any more; rejects with the first failure. */
  async finish(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running)
    this.#detach()
    this.throwIfStopped()
  }
}
