import { DiskferryError, isDiskferryError } from '../../bytes/errors.ts'
import { isTransientStatus, retryAfterMs, Transient } from './retry.ts'
import type { RangeAnswer } from './transport.ts'

/** What an object was when it was opened. */
export interface Identity {
  readonly size: number
  readonly etag: string | undefined
  readonly lastModified: string | undefined
}

const NO_RANGES = 'status 200 for a ranged GET'

/** Whether opening failed only because the object can't be read in any place; front to back it may. */
export function isWithoutRanges(error: unknown): boolean {
  return isDiskferryError(error, 'source-unreadable') && error.found === NO_RANGES
}

const CONTENT_RANGE = /^bytes (?:(\d+)-(\d+)|\*)\/(\d+)$/

/** Bytes that an answer holds, and the object that it holds them of. */
export interface Accepted {
  readonly length: number
  readonly identity: Identity
}

/**
 * Holds an answer to what was asked for: the right bytes, of the same object as before.
 * @throws Transient for what may be tried again; DiskferryError `source-changed` or `source-unreadable` otherwise
 */
export function acceptAnswer(
  name: string,
  answer: RangeAnswer,
  asked: { readonly offset: number; readonly length: number },
  known: Identity | undefined,
): Accepted {
  const accepted = answer.status === 206 ? partOf(name, answer, asked) : wholeOf(name, answer, asked)
  if (known !== undefined) assertSame(name, known, accepted.identity)
  return accepted
}

function partOf(name: string, answer: RangeAnswer, asked: { offset: number; length: number }): Accepted {
  const [, first, last, total] = CONTENT_RANGE.exec(answer.contentRange ?? '') ?? []
  const size = Number(total)
  const expected = Math.min(asked.offset + asked.length, size) - 1
  if (Number(first) !== asked.offset || Number(last) !== expected || !Number.isSafeInteger(size)) {
    throw new DiskferryError('source-unreadable', `${name}: the server sent other bytes than it was asked for`, {
      found: answer.contentRange ?? 'no Content-Range',
      expected: `bytes ${asked.offset}-${asked.offset + asked.length - 1}`,
      offset: asked.offset,
    })
  }
  return { length: expected + 1 - asked.offset, identity: identityOf(answer, size) }
}

/** An answer without ranges will do where it is all that was asked for. */
function wholeOf(name: string, answer: RangeAnswer, { offset, length }: { offset: number; length: number }): Accepted {
  const { status, contentLength: size } = answer
  if (status === 416) return pastEnd(name, answer, offset)
  if (status !== 200) throw refusal(name, answer)
  if (offset === 0 && size !== undefined && size <= length) return { length: size, identity: identityOf(answer, size) }
  throw new DiskferryError('source-unreadable', `${name} lies on a server that does not serve ranges of bytes`, {
    found: NO_RANGES,
    expected: 'status 206',
    offset,
    hint: 'download it first; what can be read front to back, `convert` and httpStream() read from here',
  })
}

/** No byte to give: the object is empty, or has shrunk. */
function pastEnd(name: string, answer: RangeAnswer, offset: number): Accepted {
  const size = Number(CONTENT_RANGE.exec(answer.contentRange ?? '')?.[3] ?? 0)
  if (offset === 0 && size === 0) return { length: 0, identity: identityOf(answer, 0) }
  throw changed(name, `${size} bytes`, `more than ${offset} bytes`)
}

function identityOf({ etag, lastModified }: RangeAnswer, size: number): Identity {
  return { size, etag, lastModified }
}

function assertSame(name: string, before: Identity, now: Identity): void {
  if (before.size !== now.size) throw changed(name, `${now.size} bytes`, `${before.size} bytes`)
  for (const key of ['etag', 'lastModified'] as const) {
    const [was, is] = [before[key], now[key]]
    if (was !== undefined && is !== undefined && was !== is) throw changed(name, is, was)
  }
}

function changed(name: string, found: string, expected: string): DiskferryError {
  return new DiskferryError('source-changed', `${name} was replaced while it was being read`, {
    found,
    expected,
    hint: 'read one version of it (a version id), or wait until nothing writes to it',
  })
}

const HINTS: Readonly<Record<number, string>> = {
  401: 'it wants credentials',
  403: 'the link has expired, or the credentials may not read this object',
  404: 'check the address',
  410: 'it is gone',
}

/** An answer other than the bytes that were asked for, as an error. */
export function refusal(name: string, { status, retryAfter, cause }: RangeAnswer): Error {
  if (status === 412) return changed(name, 'status 412', 'the object that was opened')
  const said = cause instanceof Error && cause.message !== '' ? `: ${cause.message}` : ''
  const hint = HINTS[status] ?? (isTransientStatus(status) ? 'the server is in trouble: try again later' : undefined)
  const error = new DiskferryError('source-unreadable', `can't read ${name}: status ${status}${said}`, {
    found: status,
    ...(hint !== undefined && { hint }),
    ...(cause !== undefined && { cause }),
  })
  return isTransientStatus(status) ? new Transient(error, retryAfterMs(retryAfter)) : error
}
