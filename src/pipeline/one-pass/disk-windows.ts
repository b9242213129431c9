import type { DiskPiece, DiskStream } from '../../formats/format.ts'
import { OP_WIDTH, OpKind } from '../tasks/tasks.ts'

/** A stretch of the disk, of the same length and alignment each time, and how its bytes are made. */
export interface DiskWindow {
  /** Guest offset, a multiple of the window's size. */
  readonly guest: number
  /** Behind the last guest byte that came. */
  readonly end: number
  /** Bytes of the window that belong to the disk, as far as its size is known. */
  readonly length: number
  /** Steps of a `fill` task that make the whole window; what did not come is zero. */
  readonly ops: Float64Array
  /** The source's bytes, as a `StagedInput` has them. */
  readonly runs: Float64Array
  readonly parts: readonly Uint8Array[]
  readonly byteLength: number
  /** Guest bytes that came. */
  readonly dataBytes: number
}

/** Cuts a disk that comes front to back into windows. Those of which nothing came are left out. */
export async function* diskWindows(stream: DiskStream, windowSize: number): AsyncGenerator<DiskWindow> {
  let cutter = new WindowCutter(0, windowSize, stream.virtualSize)
  for await (const piece of stream.pieces()) {
    for (let done = 0; done < piece.length; ) {
      const guest = piece.guest + done
      if (guest >= cutter.guest + windowSize) {
        if (cutter.dataBytes > 0) yield cutter.finish()
        cutter = new WindowCutter(guest - (guest % windowSize), windowSize, stream.virtualSize)
      }
      done += cutter.add(piece, done)
    }
  }
  if (cutter.dataBytes > 0) yield cutter.finish()
}

class WindowCutter {
  readonly guest: number
  readonly #size: number
  readonly #virtualSize: number | undefined
  readonly #ops: number[] = []
  readonly #runs: number[] = []
  readonly #parts: Uint8Array[] = []
  #byteLength = 0
  #at = 0
  dataBytes = 0

  constructor(guest: number, size: number, virtualSize: number | undefined) {
    this.guest = guest
    this.#size = size
    this.#virtualSize = virtualSize
  }

  /** Takes what of the piece lies in this window, `done` bytes of which lie in those before. Gives guest bytes taken. */
  add({ guest, length, bytes, offset, codec }: DiskPiece, done: number): number {
    const at = guest + done - this.guest
    const taken = Math.min(length - done, this.#size - at)
    this.#zerosTo(at)
    const part = codec === undefined ? bytes.subarray(done, done + taken) : bytes
    const host = codec === undefined ? offset + done : offset
    const kind = codec === undefined ? OpKind.stored : OpKind.packed
    this.#ops.push(kind, at, taken, host, codec === undefined ? 0 : part.length, 0, codec ?? 0)
    this.#runs.push(host, part.length)
    this.#parts.push(part)
    this.#byteLength += part.length
    this.#at = at + taken
    this.dataBytes += taken
    return taken
  }

  finish(): DiskWindow {
    const end = this.guest + this.#at
    this.#zerosTo(this.#size)
    return {
      guest: this.guest,
      end,
      length: Math.min(this.#size, (this.#virtualSize ?? end) - this.guest),
      ops: Float64Array.from(this.#ops),
      runs: Float64Array.from(this.#runs),
      parts: this.#parts,
      byteLength: this.#byteLength,
      dataBytes: this.dataBytes,
    }
  }

  #zerosTo(at: number): void {
    if (at > this.#at) this.#ops.push(OpKind.zero, this.#at, at - this.#at, 0, 0, 0, 0)
  }
}

/** Which of the window's bytes came: rows of [start, end], offsets in the window. */
export function writtenRanges({ ops }: DiskWindow): [start: number, end: number][] {
  const ranges: [number, number][] = []
  for (let op = 0; op < ops.length; op += OP_WIDTH) {
    const [kind = 0, at = 0, length = 0] = ops.subarray(op, op + OP_WIDTH)
    if (kind !== OpKind.zero) ranges.push([at, at + length])
  }
  return ranges
}
