import { writeSync } from 'node:fs'
import { crc32c, crc32cOfZeros } from '../../bytes/crc32c.ts'
import { alignUp } from '../../bytes/units.ts'
import { unpackExactly } from '../../bytes/unpack.ts'
import { isZero } from '../../bytes/zeros.ts'
import type { Codec } from '../../formats/format.ts'
import { targetFailed } from '../../io/target-error.ts'
import { type HostReader, hostReader } from './host-reader.ts'
import {
  type FileOutput,
  type FillResult,
  type FillTask,
  MIN_HOLE,
  OP_WIDTH,
  Op,
  OpKind,
  SEGMENT_WIDTH,
  STEP_WIDTH,
} from './tasks.ts'

/** Packed units that lie together are read together, up to this many bytes. */
const MAX_GROUP = 4 * 1024 * 1024

/** Memory of this thread for bytes that it writes for itself, a step's at a time. */
let scratch = Buffer.alloc(0)

/** Makes a run of the target, step by step: reads, unpacks, computes the checksum, and hands over or writes. */
export function fill(task: FillTask): FillResult {
  const { start, end, segments, steps, output } = task
  const reader = hostReader(task.input)
  const buffer = 'buffer' in output ? Buffer.from(output.buffer) : ownBuffer(output.stepSize)
  const write = 'fd' in output && output.keepZeros ? writeAll : writeData
  const made = new MadeRun(start)
  let op = 0
  let row = 0
  for (let step = 0; step < steps.length; step += STEP_WIDTH) {
    const opsEnd = (steps[step] as number) * OP_WIDTH
    const rowsEnd = (steps[step + 1] as number) * SEGMENT_WIDTH
    runOps(task, reader, buffer, op, opsEnd)
    for (; row < rowsEnd; row += SEGMENT_WIDTH) {
      const [from = 0, length = 0, target = 0] = segments.subarray(row, row + SEGMENT_WIDTH)
      const bytes = buffer.subarray(from, from + length)
      made.add(target, bytes)
      if ('fd' in output) write(output, bytes, target)
    }
    op = opsEnd
  }
  return { crc32c: made.checksum(end) }
}

/** CRC-32C of a run; zeros between its segments are reckoned, not read. */
class MadeRun {
  #position: number
  #crc = 0

  constructor(start: number) {
    this.#position = start
  }

  add(at: number, bytes: Buffer): void {
    this.#crc = crc32c(bytes, this.checksum(at))
    this.#position = at + bytes.length
  }

  /** Of everything up to `end`. */
  checksum(end: number): number {
    return end > this.#position ? crc32cOfZeros(end - this.#position, this.#crc) : this.#crc
  }
}

function ownBuffer(length: number): Buffer {
  if (scratch.length < length) scratch = Buffer.allocUnsafeSlow(length)
  return scratch
}

/** Writes what is not zero. Blocks are counted from the file's start, as the file system counts them. */
function writeData(output: FileOutput, bytes: Buffer, target: number): void {
  let from = 0
  for (let at = 0; at < bytes.length; ) {
    const end = Math.min(bytes.length, alignUp(target + at + 1, MIN_HOLE) - target)
    if (isZero(bytes, at, end)) {
      writeAll(output, bytes.subarray(from, at), target + from)
      from = end
    }
    at = end
  }
  writeAll(output, bytes.subarray(from), target + from)
}

function writeAll({ fd, name }: FileOutput, bytes: Buffer, target: number): void {
  try {
    for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done, bytes.length - done, target + done)
  } catch (cause) {
    throw targetFailed(name, cause)
  }
}

/** Fills `buffer` as the ops from `first` to `end` say. */
export function runOps(
  { ops, literals, codecs }: Pick<FillTask, 'ops' | 'literals' | 'codecs'>,
  reader: HostReader,
  buffer: Buffer,
  first = 0,
  end = ops.length,
): void {
  for (let op = first; op < end; ) {
    const at = ops[op + Op.at] as number
    const length = ops[op + Op.length] as number
    const host = ops[op + Op.host] as number
    switch (ops[op + Op.kind]) {
      case OpKind.packed:
        op = unpackGroup(ops, op, end, codecs, reader, buffer)
        continue
      case OpKind.stored:
        reader.copy(host, length, buffer, at)
        break
      case OpKind.literal:
        buffer.set(literals.subarray(host, host + length), at)
        break
      default:
        buffer.fill(0, at, at + length)
    }
    op += OP_WIDTH
  }
}

/** Unpacks the run of packed ops that begins at `first` and whose packed bytes lie together. Gives the op after it. */
function unpackGroup(
  ops: Float64Array,
  first: number,
  limit: number,
  codecs: readonly Codec[],
  reader: HostReader,
  buffer: Buffer,
): number {
  const end = groupEnd(ops, first, limit)
  const groupHost = ops[first + Op.host] as number
  const last = end - OP_WIDTH
  const window = reader.view(groupHost, (ops[last + Op.host] as number) + (ops[last + Op.packed] as number) - groupHost)
  for (let op = first; op < end; op += OP_WIDTH) {
    const host = ops[op + Op.host] as number
    const packed = window.subarray(host - groupHost, host - groupHost + (ops[op + Op.packed] as number))
    const skip = ops[op + Op.skip] as number
    const unpacked = unpackExactly(codecs[ops[op + Op.codec] as number] as Codec, packed, host)
    buffer.set(unpacked.subarray(skip, skip + (ops[op + Op.length] as number)), ops[op + Op.at] as number)
  }
  return end
}

/** Packed units follow one another when each begins and ends after the one before, without a gap. */
export function groupEnd(ops: Float64Array, first: number, limit = ops.length): number {
  const groupHost = ops[first + Op.host] as number
  let end = first
  let reach = groupHost
  do {
    reach = (ops[end + Op.host] as number) + (ops[end + Op.packed] as number)
    end += OP_WIDTH
  } while (
    end < limit &&
    ops[end + Op.kind] === OpKind.packed &&
    (ops[end + Op.host] as number) >= (ops[end - OP_WIDTH + Op.host] as number) &&
    (ops[end + Op.host] as number) <= reach &&
    (ops[end + Op.host] as number) + (ops[end + Op.packed] as number) >= reach &&
    (ops[end + Op.host] as number) + (ops[end + Op.packed] as number) - groupHost <= MAX_GROUP
  )
  return end
}
