import { ftruncate, write } from 'node:fs'
import { promisify } from 'node:util'
import { combineCrc32c, crc32c, crc32cOfZeros, replaceHeadCrc32c } from '../../bytes/crc32c.ts'
import { MiB } from '../../bytes/units.ts'
import type { PositionedSink, Sink, StreamSink } from '../../io/sink.ts'
import { targetFailed } from '../../io/target-error.ts'
import { violated } from '../plan/plans.ts'

/** Takes bytes in the order of the target, and reckons their checksum. */
export interface Output {
  readonly position: number
  readonly crc32c: number
  /** Resolves when the memory of `bytes` is free. */
  append(bytes: Uint8Array, crc32c?: number): Promise<void>
  /** `length` zeros: in a file a hole. */
  zeros(length: number): Promise<void>
  /** After the last byte; `head` replaces what stands in front. */
  end(head: Uint8Array | undefined): Promise<void>
}

/** Bytes in order, into whatever sink. */
export function outputTo(sink: Sink): Output {
  return sink.kind === 'positioned' ? new FileOutput(sink) : new StreamOutput(sink)
}

const writeAt = promisify(write)
const setLength = promisify(ftruncate)

class FileOutput implements Output {
  readonly #sink: PositionedSink
  position = 0
  crc32c = 0
  #endsInHole = false
  #headCrc: { crc32c: number; length: number } | undefined

  constructor(sink: PositionedSink) {
    this.#sink = sink
  }

  /** The first run of bytes is the head; its checksum is kept apart, since it may be replaced. */
  async append(bytes: Uint8Array, crc = crc32c(bytes)): Promise<void> {
    if (this.#headCrc === undefined) this.#headCrc = { crc32c: crc, length: bytes.length }
    else this.crc32c = combineCrc32c(this.crc32c, crc, bytes.length)
    const at = this.position
    this.position += bytes.length
    this.#endsInHole &&= bytes.length === 0
    await this.#write(bytes, at)
  }

  async zeros(length: number): Promise<void> {
    this.#headCrc ??= { crc32c: 0, length: 0 }
    this.crc32c = crc32cOfZeros(length, this.crc32c)
    this.position += length
    this.#endsInHole = true
  }

  async end(head: Uint8Array | undefined): Promise<void> {
    const { crc32c: reserved, length } = this.#headCrc ?? { crc32c: 0, length: 0 }
    if (head !== undefined && head.length !== length) throw violated('the length of the head', head.length, length)
    if (head !== undefined) await this.#write(head, 0)
    if (this.#endsInHole) await setLength(this.#sink.fd, this.position).catch(this.#failed)
    this.crc32c = combineCrc32c(head === undefined ? reserved : crc32c(head), this.crc32c, this.position - length)
  }

  async #write(bytes: Uint8Array, at: number): Promise<void> {
    try {
      for (let done = 0; done < bytes.length; ) {
        done += (await writeAt(this.#sink.fd, bytes, done, bytes.length - done, at + done)).bytesWritten
      }
    } catch (cause) {
      this.#failed(cause)
    }
  }

  readonly #failed = (cause: unknown): never => {
    throw targetFailed(this.#sink.name, cause)
  }
}

/** Bytes that a stream may be given before it has let go of those before. */
const AHEAD = 2 * MiB
const ZEROS = Buffer.alloc(MiB)

/**
 * Packed bytes are few: they are copied out of their slot, cut where parts end, and held in a budget of their own.
 */
class StreamOutput implements Output {
  readonly #sink: StreamSink
  readonly #held = new Set<Promise<void>>()
  #heldBytes = 0
  /** What was handed over first: a late head replaces it. */
  #reserved: { crc32c: number; length: number } | undefined
  position = 0
  crc32c = 0

  constructor(sink: StreamSink) {
    this.#sink = sink
  }

  async append(bytes: Uint8Array, crc = crc32c(bytes)): Promise<void> {
    this.crc32c = combineCrc32c(this.crc32c, crc, bytes.length)
    this.#reserved ??= { crc32c: crc, length: bytes.length }
    const { partSize = Number.POSITIVE_INFINITY } = this.#sink
    const copy = Buffer.from(bytes)
    for (let done = 0; done < copy.length; ) {
      const length = Math.min(copy.length - done, partSize - (this.position % partSize))
      const piece = copy.subarray(done, done + length)
      this.#hand(piece, length === copy.length ? crc : crc32c(piece))
      done += length
    }
    while (this.#heldBytes > this.#sink.holds + AHEAD) await Promise.race(this.#held)
  }

  async zeros(length: number): Promise<void> {
    for (let done = 0; done < length; done += ZEROS.length) await this.append(ZEROS.subarray(0, length - done))
  }

  #hand(bytes: Uint8Array, crc: number): void {
    this.#heldBytes += bytes.length
    const written = this.#sink.write({ offset: this.position, bytes, crc32c: crc })
    this.position += bytes.length
    const held = written.then(() => {
      this.#heldBytes -= bytes.length
      this.#held.delete(held)
    })
    held.catch(() => undefined)
    this.#held.add(held)
  }

  async end(head: Uint8Array | undefined): Promise<void> {
    if (head !== undefined) this.#replaceHead(head)
    this.#sink.end()
    await Promise.all(this.#held)
  }

  #replaceHead(head: Uint8Array): void {
    const { crc32c: reserved, length } = this.#reserved ?? { crc32c: 0, length: 0 }
    if (head.length !== length) throw violated('the length of the head', head.length, length)
    const crc = crc32c(head)
    this.#sink.head?.(head, crc, reserved)
    this.crc32c = replaceHeadCrc32c(this.crc32c, reserved, crc, this.position - length)
  }
}
