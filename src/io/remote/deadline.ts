import type { RetryPolicy } from './retry.ts'

/** Ends a request that takes too long, that brings nothing, or that nobody wants any more. */
export class Deadline {
  readonly #controller = new AbortController()
  readonly #outer: AbortSignal
  readonly #whole: NodeJS.Timeout
  readonly #stall: NodeJS.Timeout
  readonly #abort = () => this.#controller.abort(this.#outer.reason)

  constructor({ requestTimeoutMs, stallTimeoutMs }: RetryPolicy, signal: AbortSignal) {
    this.#outer = signal
    this.#whole = setTimeout(() => this.#expire(`no whole answer in ${requestTimeoutMs} ms`), requestTimeoutMs)
    this.#stall = setTimeout(() => this.#expire(`nothing came for ${stallTimeoutMs} ms`), stallTimeoutMs)
    if (signal.aborted) this.#abort()
    else signal.addEventListener('abort', this.#abort, { once: true })
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** Bytes have come. */
  progress(): void {
    this.#stall.refresh()
  }

  /** The request's error, or the reason why it was ended. */
  explain(error: unknown): unknown {
    return this.#controller.signal.aborted ? this.#controller.signal.reason : error
  }

  stop(): void {
    clearTimeout(this.#whole)
    clearTimeout(this.#stall)
    this.#outer.removeEventListener('abort', this.#abort)
  }

  #expire(message: string): void {
    this.#controller.abort(Object.assign(new Error(message), { code: 'ETIMEDOUT' }))
  }
}
