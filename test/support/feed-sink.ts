import { writeSync } from 'node:fs'
import { crc32c } from '../../src/bytes/crc32c.ts'
import type { PositionedSink, Sink, StreamSink, Summary } from '../../src/index.ts'

/** Lengths of chunks, over and over: none of them is anybody's own. */
const LENGTHS = [70_001, 1, 2 ** 20, 512, 300_000, 4095]

/** Hands `bytes` to a sink as the pipeline does, and ends it there. */
export async function feedSink(sink: Sink, bytes: Uint8Array): Promise<Summary> {
  if (sink.kind === 'positioned') {
    feedPositioned(sink, bytes)
  } else {
    const held = await feedStream(sink, bytes)
    sink.end()
    await Promise.all(held)
  }
  return { size: bytes.length, crc32c: crc32c(bytes) }
}

/** Hands over the first `until` bytes, and then gives up as the pipeline does: nobody waits for the sink for ever. */
export async function abandonSink(sink: Sink, bytes: Uint8Array, until: number, reason: Error): Promise<void> {
  const given = bytes.subarray(0, until)
  if (sink.kind === 'positioned') {
    feedPositioned(sink, given)
  } else {
    const held = await feedStream(sink, given)
    sink.stop(reason)
    await Promise.allSettled(held)
  }
  await sink.abort(reason)
}

/** Anywhere in any order: the second half comes first. */
function feedPositioned({ fd }: PositionedSink, bytes: Uint8Array): void {
  const middle = Math.ceil(bytes.length / 2)
  for (const [from, to] of [
    [middle, bytes.length],
    [0, middle],
  ] as const) {
    for (let at = from; at < to; ) at += writeSync(fd, bytes, at, to - at, at)
  }
}

/**
 * In order, from memory that is used again as soon as the sink lets go of it. No more is ever held than the sink said
 * that it needs, so one that waits for more never ends. Gives what the sink still holds.
 */
async function feedStream(sink: StreamSink, bytes: Uint8Array): Promise<Promise<void>[]> {
  const { partSize = Number.POSITIVE_INFINITY, holds } = sink
  const held: { length: number; done: Promise<void> }[] = []
  let heldBytes = 0
  for (let offset = 0, count = 0; offset < bytes.length; count++) {
    const wanted = LENGTHS[count % LENGTHS.length] as number
    const length = Math.min(wanted, bytes.length - offset, partSize - (offset % partSize))
    while (held.length > 0 && heldBytes + length > holds) {
      const oldest = held.shift()
      await oldest?.done
      heldBytes -= oldest?.length ?? 0
    }
    held.push({ length, done: writeAndReuse(sink, offset, bytes.subarray(offset, offset + length)) })
    heldBytes += length
    offset += length
  }
  return held.map(({ done }) => done)
}

/** What the sink has let go of is overwritten, as it will be when the next chunk is made in it. */
async function writeAndReuse(sink: StreamSink, offset: number, bytes: Uint8Array): Promise<void> {
  const memory = Buffer.from(new SharedArrayBuffer(bytes.length))
  memory.set(bytes)
  await sink.write({ offset, bytes: memory, crc32c: crc32c(memory) })
  memory.fill(0xdb)
}
