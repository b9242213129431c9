import { truncated } from '../bytes/errors.ts'
import { KiB } from '../bytes/units.ts'
import type { SequentialReader } from './sequential-reader.ts'

const PIECE_SIZE = 256 * KiB

/** Everything up to a stream's end, of which the last `length` bytes are something else. */
export class StreamTail {
  readonly #reader: SequentialReader
  readonly #length: number
  #held = Buffer.alloc(0)

  constructor(reader: SequentialReader, length: number) {
    this.#reader = reader
    this.#length = length
  }

  /** What comes before the last bytes. */
  async *body(): AsyncGenerator<Buffer> {
    for (let bytes = await this.#next(); bytes !== undefined; bytes = await this.#next()) {
      const all = Buffer.concat([this.#held, bytes])
      const body = all.subarray(0, Math.max(0, all.length - this.#length))
      this.#held = all.subarray(body.length)
      if (body.length > 0) yield body
    }
  }

  /**
   * The last bytes; what is left of the body is passed over.
   * @throws DiskferryError `truncated` when there are fewer
   */
  async last(): Promise<Buffer> {
    for await (const _ of this.body());
    if (this.#held.length === this.#length) return this.#held
    throw truncated('the end of the stream', {
      found: this.#held.length,
      expected: this.#length,
      offset: this.#reader.position,
    })
  }

  #next(): Promise<Uint8Array | undefined> {
    return this.#reader.next(PIECE_SIZE)
  }
}
