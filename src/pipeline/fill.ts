import { writeSync } from 'node:fs'
import { crc32c, crc32cOfZeros } from '../bytes/crc32c.ts'
import { unpackExactly } from '../bytes/unpack.ts'
import type { Codec } from '../formats/format.ts'
import { targetFailed } from '../io/target-error.ts'
import { type HostReader, hostReader } from './host-reader.ts'
import { type FillResult, type FillTask, OP_WIDTH, Op, OpKind, SEGMENT_WIDTH } from './tasks.ts'

/** Packed units that lie together are read together, up to this many bytes. */
const MAX_GROUP = 4 * 1024 * 1024

/** Memory of this thread for bytes that it writes for itself. */
let scratch = Buffer.alloc(0)

/** Makes a run of the target: reads, unpacks, computes the checksum, and hands over or writes. */
export function fill(task: FillTask): FillResult {
  const buffer = 'buffer' in task.output ? Buffer.from(task.output.buffer) : ownBuffer(task.bufferLength)
  runOps(task, hostReader(task.input), buffer)
  if ('fd' in task.output) writeSegments(task.output, task.segments, buffer)
  return { crc32c: checksum(task, buffer) }
}

function ownBuffer(length: number): Buffer {
  if (scratch.length < length) scratch = Buffer.allocUnsafeSlow(length)
  return scratch
}

/** Fills `buffer` as the ops say. */
export function runOps(
  { ops, literals, codecs }: Pick<FillTask, 'ops' | 'literals' | 'codecs'>,
  reader: HostReader,
  buffer: Buffer,
): void {
  for (let op = 0; op < ops.length; ) {
    const at = ops[op + Op.at] as number
    const length = ops[op + Op.length] as number
    const host = ops[op + Op.host] as number
    switch (ops[op + Op.kind]) {
      case OpKind.packed:
        op = unpackGroup(ops, op, codecs, reader, buffer)
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
  codecs: readonly Codec[],
  reader: HostReader,
  buffer: Buffer,
): number {
  const end = groupEnd(ops, first)
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
export function groupEnd(ops: Float64Array, first: number): number {
  const groupHost = ops[first + Op.host] as number
  let end = first
  let reach = groupHost
  do {
    reach = (ops[end + Op.host] as number) + (ops[end + Op.packed] as number)
    end += OP_WIDTH
  } while (
    end < ops.length &&
    ops[end + Op.kind] === OpKind.packed &&
    (ops[end + Op.host] as number) >= (ops[end - OP_WIDTH + Op.host] as number) &&
    (ops[end + Op.host] as number) <= reach &&
    (ops[end + Op.host] as number) + (ops[end + Op.packed] as number) >= reach &&
    (ops[end + Op.host] as number) + (ops[end + Op.packed] as number) - groupHost <= MAX_GROUP
  )
  return end
}

function writeSegments({ fd, name }: { fd: number; name: string }, segments: Float64Array, buffer: Buffer): void {
  for (let row = 0; row < segments.length; row += SEGMENT_WIDTH) {
    const [from = 0, length = 0, target = 0] = segments.subarray(row, row + SEGMENT_WIDTH)
    try {
      for (let done = 0; done < length; ) done += writeSync(fd, buffer, from + done, length - done, target + done)
    } catch (cause) {
      throw targetFailed(name, cause)
    }
  }
}

/** CRC-32C of the whole run; zeros between segments are reckoned, not read. */
function checksum({ start, end, segments }: FillTask, buffer: Buffer): number {
  let crc = 0
  let position = start
  for (let row = 0; row < segments.length; row += SEGMENT_WIDTH) {
    const [from = 0, length = 0, target = 0] = segments.subarray(row, row + SEGMENT_WIDTH)
    if (target > position) crc = crc32cOfZeros(target - position, crc)
    crc = crc32c(buffer.subarray(from, from + length), crc)
    position = target + length
  }
  return end > position ? crc32cOfZeros(end - position, crc) : crc
}
