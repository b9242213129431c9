import { Session } from 'node:inspector'

/**
 * Which blocks of the readers have run, by V8's own counts. jazzer.js would be the usual choice; its addon needs a C
 * library (glibc 2.38) that Debian 12 has not, and what is wanted of it is this: to know that an input reached
 * something new.
 */
export class BlockCoverage {
  readonly #session = new Session()
  readonly #pattern: RegExp
  readonly #known = new Set<string>()
  readonly #all = new Set<string>()

  /** Counts scripts whose address matches. */
  constructor(pattern: RegExp) {
    this.#pattern = pattern
    this.#session.connect()
    this.#post('Profiler.enable')
    this.#post('Profiler.startPreciseCoverage', { callCount: true, detailed: true })
  }

  /** Blocks that ran since the last call. The inspector of one's own thread answers at once. */
  take(): Set<string> {
    const ran = new Set<string>()
    for (const { url, functions } of this.#post('Profiler.takePreciseCoverage').result) {
      if (!this.#pattern.test(url)) continue
      for (const { ranges } of functions) {
        for (const { startOffset, endOffset, count } of ranges) {
          const block = `${url}:${startOffset}-${endOffset}`
          this.#all.add(block)
          if (count > 0) ran.add(block)
        }
      }
    }
    return ran
  }

  /** Those of `blocks` that were never seen before. */
  fresh(blocks: Set<string>): Set<string> {
    return new Set([...blocks].filter((block) => !this.#known.has(block)))
  }

  add(blocks: Set<string>): void {
    for (const block of blocks) this.#known.add(block)
  }

  /** How many blocks have run, and how many are known of. V8 makes up blocks as it counts: both are estimates. */
  get counts(): { readonly ran: number; readonly all: number } {
    return { ran: this.#known.size, all: this.#all.size }
  }

  close(): void {
    this.#post('Profiler.stopPreciseCoverage')
    this.#session.disconnect()
  }

  #post(method: string, params: object = {}): Coverage {
    let answer: Coverage | undefined
    this.#session.post(method, params, (error, result) => {
      if (error) throw error
      answer = (result ?? {}) as Coverage
    })
    if (answer === undefined) throw new Error(`${method} was not answered`)
    return answer
  }
}

interface Coverage {
  readonly result: readonly {
    readonly url: string
    readonly functions: readonly {
      readonly ranges: readonly { readonly startOffset: number; readonly endOffset: number; readonly count: number }[]
    }[]
  }[]
}
