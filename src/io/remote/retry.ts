import { setTimeout as sleep } from 'node:timers/promises'

/** How patient reading is. Times in milliseconds. */
export interface RetryPolicy {
  /** Further attempts after one that failed without bringing any bytes. */
  readonly retries: number
  /** For one request, from first to last byte. */
  readonly requestTimeoutMs: number
  /** For a request that brings nothing. */
  readonly stallTimeoutMs: number
}

export const DEFAULT_POLICY: RetryPolicy = { retries: 5, requestTimeoutMs: 300_000, stallTimeoutMs: 30_000 }

const FIRST_PAUSE_MS = 200
const LONGEST_PAUSE_MS = 10_000

/** A failure that may be gone the next time. */
export class Transient extends Error {
  readonly retryAfterMs: number

  constructor(cause: unknown, retryAfterMs = 0) {
    super('may succeed when tried again', { cause })
    this.retryAfterMs = retryAfterMs
  }
}

/**
 * Attempts until one succeeds, fails for good, or too many in a row brought nothing. What it rejects with is the last
 * attempt's own error.
 */
export async function retrying(
  attempt: () => Promise<void>,
  progress: () => number,
  { retries }: RetryPolicy,
  signal: AbortSignal,
): Promise<void> {
  let reached = progress()
  for (let failures = 0; ; failures++) {
    try {
      return await attempt()
    } catch (error) {
      signal.throwIfAborted()
      if (!(error instanceof Transient)) throw error
      if (progress() > reached) failures = 0
      reached = progress()
      if (failures >= retries) throw error.cause
      await sleep(pauseMs(failures, error.retryAfterMs), undefined, { signal }).catch(() => signal.throwIfAborted())
    }
  }
}

/** Exponential, with full jitter, so that clients that failed together do not come back together. */
export function pauseMs(failures: number, retryAfterMs = 0): number {
  const longest = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** failures)
  return Math.min(LONGEST_PAUSE_MS, Math.max(retryAfterMs, longest * Math.random()))
}

const TRANSIENT_CODES = new Set([
  'ECONNRESET',
  'ECONNREFUSED',
  'ECONNABORTED',
  'ETIMEDOUT',
  'EPIPE',
  'EAI_AGAIN',
  'ENETUNREACH',
  'EHOSTUNREACH',
  'ERR_STREAM_PREMATURE_CLOSE',
  'TimeoutError',
  'RequestTimeout',
])

/** Whether a request that got no whole answer may get one the next time. */
export function isTransient(cause: unknown): boolean {
  const { code, name } = (cause ?? {}) as { code?: unknown; name?: unknown }
  return [code, name].some((word) => typeof word === 'string' && (TRANSIENT_CODES.has(word) || word.startsWith('HPE_')))
}

/** Whether a server that answered so may answer otherwise the next time. */
export function isTransientStatus(status: number): boolean {
  return status === 408 || status === 425 || status === 429 || (status >= 500 && status !== 501 && status !== 505)
}

/** `Retry-After`: seconds, or a date. */
export function retryAfterMs(text: string | undefined): number {
  if (text === undefined) return 0
  if (/^\d+$/.test(text)) return Number(text) * 1000
  const date = Date.parse(text)
  return Number.isNaN(date) ? 0 : Math.max(0, date - Date.now())
}
