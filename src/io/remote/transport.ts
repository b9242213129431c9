import type { Readable } from 'node:stream'

/** One GET of a run of an object's bytes. */
export interface RangeRequest {
  readonly offset: number
  /** Infinite for all that follows `offset`. */
  readonly length: number
  /** A strong entity tag that the object must still have. */
  readonly ifMatch: string | undefined
  readonly signal: AbortSignal
}

/** What came back, of whatever status. Header values as they stood in the answer. */
export interface RangeAnswer {
  readonly status: number
  readonly contentRange?: string | undefined
  readonly contentLength?: number | undefined
  readonly etag?: string | undefined
  readonly lastModified?: string | undefined
  /** Seconds to wait, or a date. */
  readonly retryAfter?: string | undefined
  /** Missing where the answer is a refusal whose body has been read. */
  readonly body?: Readable | undefined
  /** A refusal in the store's own words. */
  readonly cause?: unknown
}

/** How an object's bytes are asked for. One request a call; it never retries. */
export interface Transport {
  /** For messages; holds no secrets. */
  readonly name: string
  /** Rejects where there was no answer at all. */
  get(request: RangeRequest): Promise<RangeAnswer>
  close(): void
}
