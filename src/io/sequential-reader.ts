import { DiskferryError } from '../bytes/errors.ts'
import type { SequentialSource } from './sequential-source.ts'

/** Reads a sequential source front to back. Holds the chunk that it is at, and what has been looked at ahead. */
export class SequentialReader {
  readonly name: string
  readonly #size: number | undefined
  readonly #iterator: AsyncIterator<Uint8Array>
  readonly #signal: AbortSignal | undefined
  /** Tells whoever waits for a chunk that there will be none. */
  #giveUp: (reason: unknown) => void = () => undefined
  #detach: () => void = () => undefined
  #chunk: Uint8Array = NOTHING
  #ended = false
  #position = 0
  #received = 0

  /** A chunk that is waited for is waited for no longer once `signal` is aborted. */
  constructor({ name = 'the stream', size, chunks }: SequentialSource, signal?: AbortSignal) {
    this.name = name
    this.#size = size
    this.#iterator = chunks()[Symbol.asyncIterator]()
    this.#signal = signal
    const stop = () => this.#giveUp(signal?.reason)
    signal?.addEventListener('abort', stop, { once: true })
    this.#detach = () => signal?.removeEventListener('abort', stop)
  }

  /** Bytes that have been read. */
  get position(): number {
    return this.#position
  }

  /** The next bytes, at least one, at most `most`; undefined at the end. */
  async next(most: number): Promise<Uint8Array | undefined> {
    if (!(await this.#fill())) return undefined
    return this.#take(Math.min(most, this.#chunk.length))
  }

  /** The next `length` bytes without taking them; fewer only where the stream ends. */
  async peek(length: number): Promise<Buffer> {
    const parts: Uint8Array[] = []
    let held = 0
    while (held < length && (await this.#fill())) {
      parts.push(this.#chunk)
      held += this.#chunk.length
      this.#chunk = NOTHING
    }
    this.#chunk = parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts)
    const { buffer, byteOffset } = this.#chunk
    return Buffer.from(buffer, byteOffset, Math.min(length, held))
  }

  /**
   * Exactly `length` bytes; they stay good.
   * @throws DiskferryError `truncated` where the stream ends before
   */
  async read(length: number, what: string): Promise<Buffer> {
    const start = this.#position
    const bytes = await this.peek(length)
    if (bytes.length < length) throw endsEarly(this.name, what, start, length, bytes.length)
    this.#take(length)
    return bytes
  }

  /** Passes over exactly `length` bytes. */
  async skip(length: number, what: string): Promise<void> {
    const start = this.#position
    for (let left = length; left > 0; ) {
      const bytes = await this.next(left)
      if (bytes === undefined) throw endsEarly(this.name, what, start, length, length - left)
      left -= bytes.length
    }
  }

  /** @throws DiskferryError `malformed` when there is more */
  async expectEnd(what: string): Promise<void> {
    if (!(await this.#fill())) return
    throw new DiskferryError('malformed', `${this.name} goes on at offset ${this.#position}, behind ${what}`, {
      offset: this.#position,
      found: 'more bytes',
      expected: 'the end',
      hint: 'something was appended to the image, or it is not what it says: cut it there if you know better',
    })
  }

  /** Stops reading. A chunk that is being waited for is not awaited: its source is closed by whoever opened it. */
  close(): void {
    this.#detach()
    if (!this.#ended) Promise.resolve(this.#iterator.return?.()).catch(() => undefined)
  }

  #take(length: number): Uint8Array {
    const bytes = this.#chunk.subarray(0, length)
    this.#chunk = this.#chunk.subarray(length)
    this.#position += length
    return bytes
  }

  /** Tells whether there are bytes at hand, waiting for the next chunk if need be. */
  async #fill(): Promise<boolean> {
    while (this.#chunk.length === 0 && !this.#ended) {
      const next = Promise.resolve(this.#iterator.next()).catch(this.#failed)
      const { done = false, value } = await this.#orStopped(next)
      if (done) this.#end()
      else this.#accept(value)
    }
    return this.#chunk.length > 0
  }

  /** A race would do, but what loses it, and lives on, keeps every chunk that won. */
  #orStopped<T>(next: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#giveUp = reject
      if (this.#signal?.aborted) reject(this.#signal.reason)
      next.then(resolve, reject)
    })
  }

  #accept(chunk: unknown): void {
    if (!(chunk instanceof Uint8Array)) {
      const hint = 'a stream must give bytes: no encoding, no object mode'
      throw new DiskferryError('usage', `${this.name} gives no bytes`, { found: typeof chunk, hint })
    }
    this.#chunk = chunk
    this.#received += chunk.length
    if (this.#size !== undefined && this.#received > this.#size) throw this.#wrongLength()
  }

  #end(): void {
    this.#ended = true
    if (this.#size !== undefined && this.#received !== this.#size) throw this.#wrongLength()
  }

  #wrongLength(): DiskferryError {
    const detail = { found: this.#received, expected: this.#size as number, offset: this.#received }
    return new DiskferryError('short-read', `${this.name} is not as long as was said`, detail)
  }

  readonly #failed = (cause: unknown): never => {
    if (cause instanceof DiskferryError) throw cause
    const found = (cause as NodeJS.ErrnoException)?.code ?? String(cause)
    throw new DiskferryError('source-unreadable', `reading ${this.name} failed: ${found}`, {
      found,
      offset: this.#received,
      cause,
    })
  }
}

const NOTHING = new Uint8Array(0)

function endsEarly(name: string, what: string, offset: number, expected: number, found: number): DiskferryError {
  return new DiskferryError('truncated', `${name} ends inside ${what}: ${found} of ${expected} bytes`, {
    offset: offset + found,
    found,
    expected,
    hint: 'the transfer was cut off: send it again',
  })
}
