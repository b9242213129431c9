import { KiB, MiB } from '../../bytes/units.ts'
import { shortRead } from '../source.ts'

/** A run of the object, there or on its way. One request made it. */
interface Segment {
  readonly start: number
  readonly end: number
  readonly bytes: Promise<Uint8Array>
  settled: boolean
  /** Reads that have not copied yet what they want of it. */
  readers: number
  /** What the bytes lie in, where it is large enough to serve again. */
  readonly memory: Uint8Array | undefined
}

/** Loads `length` bytes at `offset`, into `memory` if it is given. */
export type Load = (offset: number, length: number, memory?: Uint8Array) => Promise<Uint8Array>

/** The least that is worth a request, and the most that one asks for. */
const LEAST = 256 * KiB
const MOST = 4 * MiB
/** Whoever goes on so shortly behind what was read before reads in order. */
const NEARBY = MiB
/** Larger requests than this are only made for one who has been reading in order for a while. */
const ORDERLY = MiB
/** Requests ahead of one who reads in order. */
const AHEAD = 2
/** Buffers kept for the next requests: one who reads in order needs no more. */
const SPARE = AHEAD + 1

/**
 * What of a remote object is in memory, at most `limit` bytes of it and what is on its way. Reads close together become
 * one request, and one who reads in order gets ever larger ones, ahead of time.
 */
export class Segments {
  readonly #size: number
  readonly #limit: number
  readonly #load: Load
  /** Least recently used first. */
  #segments: Segment[] = []
  /** Of `MOST` bytes each. Fresh memory costs more than what is copied into it. */
  readonly #spare: Uint8Array[] = []

  constructor(size: number, limit: number, load: Load) {
    this.#size = size
    this.#limit = limit
    this.#load = load
  }

  /** Puts in bytes that are there already. */
  put(offset: number, bytes: Uint8Array): void {
    this.#segments.push({
      start: offset,
      end: offset + bytes.length,
      bytes: Promise.resolve(bytes),
      settled: true,
      readers: 0,
      memory: undefined,
    })
  }

  /** Fewer bytes where the object ends. What is not there is got by `load`. */
  async read(offset: number, length: number, load = this.#load): Promise<Uint8Array> {
    const bytes = Buffer.allocUnsafeSlow(Math.max(0, Math.min(length, this.#size - offset)))
    await this.readInto(offset, bytes, load)
    return bytes
  }

  /**
   * Fills `target`. When it rejects, nothing writes to `target` any more.
   * @throws DiskferryError `short-read` where there are not bytes enough
   */
  async readInto(offset: number, target: Uint8Array, load = this.#load): Promise<void> {
    const end = offset + target.length
    if (end > this.#size) throw shortRead(undefined, offset, target.length, Math.max(0, this.#size - offset))
    const wanted: Segment[] = []
    for (let at = offset; at < end; at = (wanted.at(-1) as Segment).end) wanted.push(this.#segmentAt(at, end, load))
    const last = wanted.at(-1)
    if (last !== undefined) this.#readAhead(last, load)
    const copied = await Promise.allSettled(wanted.map((segment) => copyPiece(segment, offset, target)))
    for (const piece of copied) if (piece.status === 'rejected') throw piece.reason
  }

  #segmentAt(at: number, end: number, load: Load): Segment {
    const index = this.#segments.findIndex((segment) => segment.start <= at && at < segment.end)
    if (index < 0) return this.#begin(at, end, load)
    const [segment] = this.#segments.splice(index, 1) as [Segment]
    this.#segments.push(segment)
    return segment
  }

  /** The request that gets byte `at`, and what else is worth getting up to what is there already. */
  #begin(at: number, end: number, load: Load): Segment {
    const before = this.#before(at)
    const length = Math.min(MOST, Math.max(LEAST, end - at, growth(at, before)))
    // What ends the object is read backwards from its end: footers come before what they point to.
    const start = at + length > this.#size ? Math.max(before?.end ?? 0, Math.min(at, this.#size - LEAST)) : at
    const next = Math.min(this.#size, ...this.#segments.filter((other) => other.start > at).map(({ start }) => start))
    return this.#request(start, Math.min(Math.max(at + 1, start + length), next), load)
  }

  #before(at: number): Segment | undefined {
    let nearest: Segment | undefined
    for (const segment of this.#segments) {
      if (segment.end <= at && segment.end > (nearest?.end ?? -1)) nearest = segment
    }
    return nearest
  }

  #request(start: number, end: number, load: Load): Segment {
    const length = end - start
    const memory = length > ORDERLY ? (this.#spare.pop() ?? Buffer.allocUnsafeSlow(MOST)) : undefined
    const segment: Segment = { start, end, bytes: load(start, length, memory), settled: false, readers: 0, memory }
    this.#segments.push(segment)
    segment.bytes.then(
      () => {
        segment.settled = true
        this.#evict()
      },
      () => {
        this.#segments = this.#segments.filter((other) => other !== segment)
      },
    )
    return segment
  }

  /** What was used longest ago goes first. Whoever still reads from it has it to the end. */
  #evict(): void {
    let total = this.#segments.reduce((sum, { start, end }) => sum + (end - start), 0)
    this.#segments = this.#segments.filter(({ start, end, settled, readers, memory }) => {
      if (total <= this.#limit || !settled) return true
      total -= end - start
      if (readers === 0 && memory !== undefined && this.#spare.length < SPARE) this.#spare.push(memory)
      return false
    })
  }

  #readAhead(last: Segment, load: Load): void {
    for (let ahead = 0, { start, end } = last; ahead < AHEAD && end < this.#size && end - start > ORDERLY; ahead++) {
      const at = end
      const next =
        this.#segments.find((segment) => segment.start <= at && at < segment.end) ?? this.#begin(at, at + 1, load)
      start = next.start
      end = next.end
    }
  }
}

/** Twice what the request before brought, where it ended nearby. */
function growth(at: number, before: Segment | undefined): number {
  return before !== undefined && at - before.end <= NEARBY ? 2 * (before.end - before.start) : 0
}

/** Copies what `target`, which begins at `offset`, wants of a segment. */
async function copyPiece(segment: Segment, offset: number, target: Uint8Array): Promise<void> {
  segment.readers += 1
  try {
    const bytes = await segment.bytes
    const expected = segment.end - segment.start
    if (bytes.length < expected) throw shortRead(undefined, segment.start, expected, bytes.length)
    const from = Math.max(0, offset - segment.start)
    const to = Math.min(expected, offset + target.length - segment.start)
    target.set(bytes.subarray(from, to), segment.start + from - offset)
  } finally {
    segment.readers -= 1
  }
}
