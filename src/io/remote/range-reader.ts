import { DiskferryError, isDiskferryError } from '../../bytes/errors.ts'
import { shortRead } from '../source.ts'
import { acceptAnswer, type Identity } from './answer.ts'
import { Deadline } from './deadline.ts'
import { isTransient, type RetryPolicy, retrying, Transient } from './retry.ts'
import type { Transport } from './transport.ts'

/** Bytes that have come so far; `bytes` is there once it is known how many there will be. */
interface Received {
  readonly memory: Uint8Array | undefined
  bytes: Uint8Array | undefined
  done: number
}

/** Gets runs of one object's bytes, whole or not at all. What an attempt brought is kept; the next one goes on from there. */
export class RangeReader {
  readonly #transport: Transport
  readonly #policy: RetryPolicy
  readonly #signal: AbortSignal
  #identity: Identity | undefined

  constructor(transport: Transport, policy: RetryPolicy, signal: AbortSignal) {
    this.#transport = transport
    this.#policy = policy
    this.#signal = signal
  }

  /** Known after the first read. */
  get identity(): Identity | undefined {
    return this.#identity
  }

  /**
   * The bytes from `offset` on: `length` of them, or fewer where the object ends. The buffer is the caller's: `memory`, if it
   * was given, or one of its own.
   */
  async read(offset: number, length: number, memory?: Uint8Array): Promise<Uint8Array> {
    this.#signal.throwIfAborted()
    const received: Received = { memory, bytes: undefined, done: 0 }
    const attempt = () => this.#attempt(offset, length, received)
    await retrying(attempt, () => received.done, this.#policy, this.#signal)
    return received.bytes ?? new Uint8Array(0)
  }

  async #attempt(offset: number, length: number, received: Received): Promise<void> {
    const deadline = new Deadline(this.#policy, this.#signal)
    try {
      await this.#request(offset, length, received, deadline)
    } catch (error) {
      throw this.#failed(deadline.explain(error), offset + received.done)
    } finally {
      deadline.stop()
    }
  }

  async #request(offset: number, length: number, received: Received, deadline: Deadline): Promise<void> {
    const asked = { offset: offset + received.done, length: length - received.done }
    const ifMatch = strong(this.#identity?.etag)
    const answer = await this.#transport.get({ ...asked, ifMatch, signal: deadline.signal })
    try {
      const accepted = acceptAnswer(this.#transport.name, answer, asked, this.#identity)
      this.#identity ??= accepted.identity
      received.bytes ??= received.memory?.subarray(0, accepted.length) ?? Buffer.allocUnsafeSlow(accepted.length)
      if (accepted.length === 0) return
      for await (const chunk of answer.body ?? []) {
        deadline.progress()
        this.#take(chunk as Uint8Array, received, received.bytes)
      }
      const missing = received.bytes.length - received.done
      if (missing > 0) throw new Transient(this.#short(asked.offset, asked.length, asked.length - missing))
    } finally {
      answer.body?.destroy()
    }
  }

  #take(chunk: Uint8Array, received: Received, bytes: Uint8Array): void {
    if (received.done + chunk.length > bytes.length) {
      const found = received.done + chunk.length
      const message = `${this.#transport.name}: the server sent more bytes than it said it would`
      throw new DiskferryError('source-unreadable', message, { found, expected: bytes.length })
    }
    bytes.set(chunk, received.done)
    received.done += chunk.length
  }

  #short(offset: number, wanted: number, got: number): DiskferryError {
    return shortRead(this.#transport.name, offset, wanted, got)
  }

  /** The error as ours; what may pass is marked so. */
  #failed(cause: unknown, offset: number): unknown {
    if (cause instanceof Transient || isDiskferryError(cause) || this.#signal.aborted) return cause
    const { name } = this.#transport
    const found = (cause as NodeJS.ErrnoException)?.code ?? (cause as Error)?.name ?? 'error'
    const said = cause instanceof Error ? cause.message : String(cause)
    const error = new DiskferryError('source-unreadable', `can't read ${name}: ${said || found}`, {
      found,
      offset,
      hint: 'check the address and the connection',
      cause,
    })
    return isTransient(cause) ? new Transient(error) : error
  }
}

/** `If-Match` compares strongly: a weak tag would never match. */
function strong(etag: string | undefined): string | undefined {
  return etag?.startsWith('W/') ? undefined : etag
}
