import { combineCrc32c, crc32c, crc32cToBase64, replaceHeadCrc32c } from '../../bytes/crc32c.ts'
import type { Chunk, KeptRun } from '../sink.ts'

interface Part {
  crc32c: number
  length: number
  readonly waiting: { resolve(): void; reject(error: unknown): void }[]
}

/**
 * What is known of each part: the checksum of its bytes, joined from those of its chunks and whose memory it still
 * needs. Chunks come in order and never cross a part's end.
 */
export class PartLedger {
  readonly #parts = new Map<number, Part>()
  #whole = 0
  #size = 0
  #failure: { error: unknown } | undefined

  /** Enters a chunk of part `number`. The promise resolves when its memory is free. */
  enter(number: number, { bytes, crc32c }: Pick<Chunk, 'bytes' | 'crc32c'>): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure.error)
    const part = this.#join(number, crc32c, bytes.length)
    return new Promise((resolve, reject) => part.waiting.push({ resolve, reject }))
  }

  /** Enters a part whose bytes are nobody's here. */
  pass(number: number, { length, crc32c }: KeptRun): void {
    this.#join(number, crc32c, length)
  }

  #join(number: number, crc32c: number, length: number): Part {
    const part = this.#parts.get(number) ?? { crc32c: 0, length: 0, waiting: [] }
    this.#parts.set(number, part)
    part.crc32c = combineCrc32c(part.crc32c, crc32c, length)
    part.length += length
    this.#whole = combineCrc32c(this.#whole, crc32c, length)
    this.#size += length
    return part
  }

  /** The first `length` bytes have become others. */
  replaceHead(length: number, oldHead: number, newHead: number): void {
    const first = this.#parts.get(1)
    if (first === undefined) return
    first.crc32c = replaceHeadCrc32c(first.crc32c, oldHead, newHead, first.length - length)
    this.#whole = replaceHeadCrc32c(this.#whole, oldHead, newHead, this.#size - length)
  }

  /** CRC-32C of a whole part, as stores write it. */
  checksum(number: number): string {
    return crc32cToBase64(this.#parts.get(number)?.crc32c ?? 0)
  }

  /** CRC-32C of everything entered so far. */
  whole(): number {
    return this.#whole
  }

  /** The checksum of checksums that some stores keep of an upload in parts. */
  composite(): string {
    const all = Buffer.alloc(this.count * 4)
    for (const [number, part] of this.#parts) all.writeUInt32BE(part.crc32c, (number - 1) * 4)
    return `${crc32cToBase64(crc32c(all))}-${this.count}`
  }

  get count(): number {
    return this.#parts.size
  }

  /** The memory of the part's chunks is needed no more. */
  release(number: number): void {
    for (const { resolve } of this.#parts.get(number)?.waiting.splice(0) ?? []) resolve()
  }

  /** Everyone who waits, now or later, is told. */
  fail(error: unknown): void {
    this.#failure ??= { error }
    for (const part of this.#parts.values()) {
      for (const { reject } of part.waiting.splice(0)) reject(this.#failure.error)
    }
  }
}
