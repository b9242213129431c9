/** Lets so many requests a second pass for each name, and as many as `burst` at once. */
export class RateLimit {
  readonly #perSecond: number
  readonly #burst: number
  readonly #now: () => number
  readonly #buckets = new Map<string, { tokens: number; at: number }>()

  /** `now` in milliseconds, never falling. */
  constructor(perSecond: number, burst: number, now: () => number = () => performance.now()) {
    this.#perSecond = perSecond
    this.#burst = burst
    this.#now = now
  }

  /** Seconds to wait, 0 when the request may pass. */
  take(name: string): number {
    const now = this.#now()
    const { tokens, at } = this.#buckets.get(name) ?? { tokens: this.#burst, at: now }
    const filled = Math.min(this.#burst, tokens + ((now - at) / 1000) * this.#perSecond)
    if (filled < 1) return Math.ceil((1 - filled) / this.#perSecond)
    this.#buckets.set(name, { tokens: filled - 1, at: now })
    if (this.#buckets.size > MOST_NAMES) this.#sweep(now)
    return 0
  }

  /** Those that are full again are as good as new. */
  #sweep(now: number): void {
    for (const [name, { tokens, at }] of this.#buckets) {
      if (tokens + ((now - at) / 1000) * this.#perSecond >= this.#burst) this.#buckets.delete(name)
    }
  }
}

const MOST_NAMES = 10_000
