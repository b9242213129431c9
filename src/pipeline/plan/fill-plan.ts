import { Kind } from '../../formats/extents.ts'
import { MIN_HOLE, OP_WIDTH, OpKind, SEGMENT_WIDTH } from '../tasks/tasks.ts'
import type { Piece } from './extent-cursor.ts'
import { RunCollector } from './stage.ts'

/** One task's worth of the target, before it is known where its bytes come from and go to. */
export interface FillPlan {
  readonly start: number
  readonly end: number
  readonly ops: Float64Array
  readonly literals: Uint8Array
  readonly segments: Float64Array
  readonly steps: Float64Array
  readonly runs: Float64Array
  /** Bytes made by all steps together. */
  readonly madeBytes: number
  /** Guest bytes that come from the source. */
  readonly dataBytes: number
}

export interface FillPlanOptions {
  /** Bytes that one plan makes, at most. */
  readonly chunkSize: number
  /** Bytes of its buffer, which each step fills anew. Default: the whole chunk, in one step. */
  readonly stepSize?: number | undefined
  /** Zeros are left out: what nobody writes reads as zeros. */
  readonly sparse: boolean
  /** No step may cross a multiple of it. */
  readonly partSize?: number | undefined
}

/** A badly fragmented image makes many small steps: so many, and a task is large enough. */
const MAX_OPS = 2048
const MIN_OP_BYTES = 512
/** A buffer is not handed on before it is so full, unless a part or the target ends. */
export const LEAST_FULL = 7 / 8

/** Cuts the target, front to back, into tasks of bounded size. Each method gives the plans that it completed. */
export class FillPlanner {
  readonly #options: FillPlanOptions
  readonly #stepSize: number
  readonly #maxOps: number
  #start = 0
  #position = 0
  /** Bytes of the buffer that the step under way uses. */
  #used = 0
  #madeBytes = 0
  #ops: number[] = []
  #segments: number[] = []
  #steps: number[] = []
  #literals: Uint8Array[] = []
  #literalBytes = 0
  #dataBytes = 0
  readonly #runs = new RunCollector()

  constructor(options: FillPlanOptions) {
    this.#options = options
    this.#stepSize = options.stepSize ?? options.chunkSize
    this.#maxOps = Math.max(MAX_OPS, options.chunkSize / MIN_OP_BYTES)
  }

  /** Offset in the target of the next byte. */
  get position(): number {
    return this.#position
  }

  /** Source data that is left out counts as done with the plan under way. */
  skip(dataBytes: number): void {
    this.#dataBytes += dataBytes
  }

  *bytes(bytes: Uint8Array): Generator<FillPlan> {
    for (let done = 0; done < bytes.length; ) {
      const length = Math.min(bytes.length - done, this.#room())
      this.#append(OpKind.literal, length, this.#literalBytes)
      this.#literals.push(bytes.subarray(done, done + length))
      this.#literalBytes += length
      done += length
      yield* this.#flushIfFull()
    }
  }

  *zeros(length: number): Generator<FillPlan> {
    if (this.#options.sparse && length >= MIN_HOLE) {
      this.#position += length
      return
    }
    for (let done = 0; done < length; ) {
      const piece = Math.min(length - done, this.#room())
      this.#append(OpKind.zero, piece)
      done += piece
      yield* this.#flushIfFull()
    }
  }

  *piece(piece: Piece): Generator<FillPlan> {
    if (piece.kind === Kind.stored) yield* this.#stored(piece)
    else if (piece.kind === Kind.packed) yield* this.#packed(piece)
    else yield* this.zeros(piece.length)
  }

  /** The last plan, when anything is left. */
  *rest(): Generator<FillPlan> {
    if (this.#used > 0) yield* this.#endStep()
    if (this.#position > this.#start) yield this.#flush()
  }

  *#stored({ length, host }: Piece): Generator<FillPlan> {
    for (let done = 0; done < length; ) {
      const piece = Math.min(length - done, this.#room())
      this.#append(OpKind.stored, piece, host + done)
      this.#runs.add(host + done, piece)
      this.#dataBytes += piece
      done += piece
      yield* this.#flushIfFull()
    }
  }

  /** A unit that is cut is unpacked twice: better to leave the buffer's last bytes unused. */
  *#packed({ length, host, packed, skip, codec }: Piece): Generator<FillPlan> {
    if (this.#used >= this.#stepSize * LEAST_FULL && length > this.#stepSize - this.#used) yield* this.#endStep()
    for (let done = 0; done < length; ) {
      const piece = Math.min(length - done, this.#room())
      this.#append(OpKind.packed, piece, host, packed, skip + done, codec)
      this.#runs.add(host, packed)
      this.#dataBytes += piece
      done += piece
      yield* this.#flushIfFull()
    }
  }

  /** Bytes that the step under way can still take. */
  #room(): number {
    const { partSize } = this.#options
    const room = this.#stepSize - this.#used
    return partSize === undefined ? room : Math.min(room, partSize - (this.#position % partSize))
  }

  #append(kind: number, length: number, host = 0, packed = 0, skip = 0, codec = 0): void {
    this.#ops.push(kind, this.#used, length, host, packed, skip, codec)
    const last = this.#segments.length - SEGMENT_WIDTH
    const lastLength = this.#segments[last + 1] ?? 0
    if (last >= this.#stepSegments() && (this.#segments[last + 2] as number) + lastLength === this.#position) {
      this.#segments[last + 1] = lastLength + length
    } else {
      this.#segments.push(this.#used, length, this.#position)
    }
    this.#used += length
    this.#position += length
  }

  /** Where the segments of the step under way begin. */
  #stepSegments(): number {
    return (this.#steps.at(-1) ?? 0) * SEGMENT_WIDTH
  }

  *#flushIfFull(): Generator<FillPlan> {
    const { partSize } = this.#options
    const isFull = this.#used >= this.#stepSize || this.#ops.length >= this.#maxOps * OP_WIDTH
    const atPartEnd = partSize !== undefined && this.#position % partSize === 0
    if (isFull || atPartEnd) yield* this.#endStep()
  }

  /** The buffer is full; so is the plan, when no further step fits into it or it has ops enough. */
  *#endStep(): Generator<FillPlan> {
    this.#madeBytes += this.#used
    this.#used = 0
    this.#steps.push(this.#ops.length / OP_WIDTH, this.#segments.length / SEGMENT_WIDTH)
    const { chunkSize } = this.#options
    const isFull = this.#madeBytes + this.#stepSize > chunkSize || this.#ops.length >= this.#maxOps * OP_WIDTH
    if (isFull) yield this.#flush()
  }

  #flush(): FillPlan {
    const plan = {
      start: this.#start,
      end: this.#position,
      ops: Float64Array.from(this.#ops),
      literals: Buffer.concat(this.#literals),
      segments: Float64Array.from(this.#segments),
      steps: Float64Array.from(this.#steps),
      runs: this.#runs.take(),
      madeBytes: this.#madeBytes,
      dataBytes: this.#dataBytes,
    }
    this.#start = this.#position
    this.#madeBytes = 0
    this.#ops = []
    this.#segments = []
    this.#steps = []
    this.#literals = []
    this.#literalBytes = 0
    this.#dataBytes = 0
    return plan
  }
}
