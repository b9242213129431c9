/**
 * What can go wrong, one code each. Codes are stable; messages are for people and may change.
 */
export type ErrorCode =
  /** An argument or option of the caller's is not usable. */
  | 'usage'
  /** The source can't be opened or read. */
  | 'source-unreadable'
  /** The source gave fewer bytes than it said it had. */
  | 'short-read'
  /** The source was written to while it was being read. */
  | 'source-changed'
  /** Two formats claim the same bytes. */
  | 'ambiguous-format'
  /** A known format that can't be read or written here. */
  | 'unsupported-format'
  /** A known format that uses a feature which can't be read here. */
  | 'unsupported-feature'
  /** The image asks for something that the caller has not allowed: another file, a key. */
  | 'unsafe-image'
  /** A field holds what its specification forbids. */
  | 'malformed'
  /** A field points past the end of the file. */
  | 'truncated'
  /** A field asks for more than a stated limit. */
  | 'too-large'
  /** Stored data does not decode. */
  | 'corrupt-data'
  /** The target can't hold this disk. */
  | 'target-unfit'
  /** The target could not be written. */
  | 'target-failed'
  /** Something is there already that must not be replaced. */
  | 'target-exists'
  /** What the target says it has, or what is read back from it, is not what was sent. */
  | 'checksum-mismatch'
  /** A worker thread ended before its task did. */
  | 'worker-lost'
  /** What was written is not what was planned: a defect of this program. */
  | 'plan-violated'

/** The facts that an error may carry beside its message. */
export interface ErrorDetail {
  /** Byte offset in the source (or in the target, for `target-failed`) at which it was found. */
  offset?: number
  found?: string | number
  expected?: string | number
  /** What the person can do about it. */
  hint?: string
}

/** An error as plain data: crosses a thread without losing its class, code or fields. */
export interface PlainError extends ErrorDetail {
  code: ErrorCode
  message: string
}

/** Every failure that diskferry foresees. Anything else that is thrown is a defect, or the caller's own. */
export class DiskferryError extends Error implements ErrorDetail {
  override readonly name = 'DiskferryError'
  readonly code: ErrorCode
  readonly offset?: number
  readonly found?: string | number
  readonly expected?: string | number
  readonly hint?: string

  constructor(code: ErrorCode, message: string, detail: ErrorDetail & { cause?: unknown } = {}) {
    const { cause, ...facts } = detail
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
    Object.assign(this, facts)
  }
}

/** Tells whether `error` is diskferry's own, and optionally of one code. */
export function isDiskferryError(error: unknown, code?: ErrorCode): error is DiskferryError {
  return error instanceof DiskferryError && (code === undefined || error.code === code)
}

/** A field's value breaks its specification. */
export function malformed(what: string, detail: ErrorDetail): DiskferryError {
  return new DiskferryError('malformed', sentence(what, detail), detail)
}

/** A field points past the end of its file. */
export function truncated(what: string, detail: ErrorDetail): DiskferryError {
  return new DiskferryError('truncated', sentence(what, detail), detail)
}

/** A field asks for more than a stated limit. */
export function tooLarge(what: string, detail: ErrorDetail): DiskferryError {
  return new DiskferryError('too-large', sentence(what, detail), detail)
}

function sentence(what: string, { found, expected, offset }: ErrorDetail): string {
  const facts = [
    found === undefined ? undefined : `found ${found}`,
    expected === undefined ? undefined : `expected ${expected}`,
    offset === undefined ? undefined : `at offset ${offset}`,
  ].filter((fact) => fact !== undefined)
  return facts.length === 0 ? what : `${what}: ${facts.join(', ')}`
}

/** Turns what a worker caught into plain data. */
export function toPlainError(error: unknown): PlainError {
  if (error instanceof DiskferryError) {
    const { code, message, offset, found, expected, hint } = error
    return { code, message, ...defined({ offset, found, expected, hint }) }
  }
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error)
  return { code: 'worker-lost', message: `unexpected failure in a worker: ${message}` }
}

/** The error that a worker caught, again as an error. */
export function fromPlainError({ code, message, ...detail }: PlainError): DiskferryError {
  return new DiskferryError(code, message, detail)
}

function defined(detail: { [K in keyof ErrorDetail]: ErrorDetail[K] | undefined }): ErrorDetail {
  return Object.fromEntries(Object.entries(detail).filter(([, value]) => value !== undefined))
}
