import { setTimeout as sleep } from 'node:timers/promises'
import type { S3Client } from '@aws-sdk/client-s3'
import { Deadline } from '../remote/deadline.ts'
import { DEFAULT_POLICY, isTransient, isTransientStatus, pauseMs, type RetryPolicy } from '../remote/retry.ts'

/** Errors that stores answer with and that may be gone the next time, whatever the status. */
const TRANSIENT_NAMES = new Set([
  'InternalError',
  'RequestTimeout',
  'ServiceUnavailable',
  'SlowDown',
  'ThrottlingException',
  'TooManyRequests',
])

/** The store says that it got other bytes than were meant. */
const DAMAGED_NAMES = new Set([
  'BadDigest',
  'InvalidDigest',
  'XAmzContentChecksumMismatch',
  'XAmzContentSHA256Mismatch',
])

/** Damage on the way is chance once; twice it is our memory, or the store's. */
const MOST_DAMAGED = 1

export function statusOf(error: unknown): number | undefined {
  return (error as { $metadata?: { httpStatusCode?: number } } | undefined)?.$metadata?.httpStatusCode
}

export function nameOf(error: unknown): string {
  return String((error as { name?: unknown } | undefined)?.name ?? '')
}

/** Whether the store may have done what it was asked, though the answer does not say so. */
export function isAmbiguous(error: unknown): boolean {
  const status = statusOf(error)
  return status === undefined || status < 400 || isTransientStatus(status) || TRANSIENT_NAMES.has(nameOf(error))
}

/** An answer that was cut off, or that is none: the SDK could not read it. */
function isGarbled(error: unknown): boolean {
  const status = statusOf(error)
  return error instanceof SyntaxError || (status !== undefined && status < 400)
}

function mayRetry(error: unknown): boolean {
  if (isTransient(error) || TRANSIENT_NAMES.has(nameOf(error)) || isGarbled(error)) return true
  const status = statusOf(error)
  return status !== undefined && isTransientStatus(status)
}

/**
 * Sends a request until it succeeds, fails for good, or has been tried too often. What it rejects with is the last
 * attempt's own error, or the signal's reason.
 */
export async function attempting<T>(
  policy: RetryPolicy,
  signal: AbortSignal,
  attempt: (deadline: Deadline) => Promise<T>,
): Promise<T> {
  for (let failures = 0, damaged = 0; ; failures++) {
    signal.throwIfAborted()
    const deadline = new Deadline(policy, signal)
    try {
      return await attempt(deadline)
    } catch (error) {
      signal.throwIfAborted()
      const cause = deadline.explain(error)
      const isDamaged = DAMAGED_NAMES.has(nameOf(cause))
      if (isDamaged && damaged++ >= MOST_DAMAGED) throw cause
      if (failures >= policy.retries || !(isDamaged || mayRetry(cause))) throw cause
    } finally {
      deadline.stop()
    }
    await sleep(pauseMs(failures), undefined, { signal }).catch(() => signal.throwIfAborted())
  }
}

/**
 * The caller's client, seen through a window: each request is bounded in time, and repeated where that may help. For what
 * is asked and answered in a few bytes. The client itself is left as it is.
 */
export function patient(client: S3Client, policy: RetryPolicy = DEFAULT_POLICY): S3Client {
  const { signal } = new AbortController()
  const send = (command: Parameters<S3Client['send']>[0]) =>
    attempting(policy, signal, (deadline) => client.send(command, { abortSignal: deadline.signal }))
  return Object.create(client, { send: { value: send } }) as S3Client
}
