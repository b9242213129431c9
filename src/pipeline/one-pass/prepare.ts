import { createHash } from 'node:crypto'
import { DiskferryError } from '../../bytes/errors.ts'
import { UnitMap } from '../../bytes/unit-map.ts'
import { GiB } from '../../bytes/units.ts'
import type { DiskStream, Layout, PackedLayout } from '../../formats/format.ts'
import { PROBE_HEAD } from '../../formats/format.ts'
import { openStream, wrapperOf } from '../../formats/open-stream.ts'
import { SequentialReader } from '../../io/sequential-reader.ts'
import type { SequentialSource } from '../../io/sequential-source.ts'
import type { Sink } from '../../io/sink.ts'
import { unwrapped } from '../../io/unwrap.ts'
import { assertSafeImage } from '../../rules/image-safety.ts'
import type { Conversion } from '../prepared.ts'
import { exactConsumer } from './exact.ts'
import { type OnePassResult, onePass, windowSizeFor } from './one-pass.ts'
import { PackedConsumer } from './packed.ts'

/** Ours: what a raw stream may grow to when nobody says how large its disk is. Parts in S3 are planned for it. */
const UNSAID_LIMIT = 512 * GiB

export interface OnePassInput extends Omit<Conversion, 'close'> {
  readonly source: SequentialSource
  readonly from: string | undefined
  /** Guest bytes of a raw disk, where the caller knows. */
  readonly diskSize: number | undefined
}

/** A conversion in one pass, of which all is known that the image's head tells. */
export interface PreparedOnePass {
  readonly stream: DiskStream
  /** Undefined while the disk's size is not known. */
  readonly layout: Layout | undefined
  readonly sizeAtMost: number
  /** Moves every byte. Neither finishes the sink nor aborts it. */
  move(sink: Sink): Promise<OnePassResult & { readonly layout: Layout }>
  close(): Promise<void>
}

/** Opens a source that is read front to back, once. What is compressed as a whole is unpacked on the way. */
export async function prepareOnePass(input: OnePassInput): Promise<PreparedOnePass> {
  const outer = new SequentialReader(input.source, input.signal)
  let reader = outer
  const close = async () => {
    reader.close()
    if (reader !== outer) outer.close()
    await input.source.close?.()
  }
  try {
    const wrapper = input.from === undefined ? await wrapperOf(outer) : undefined
    if (wrapper !== undefined) reader = new SequentialReader(unwrapped(outer, wrapper), input.signal)
    const head = Buffer.from(await reader.peek(PROBE_HEAD))
    const stream = withSize(await openStream(reader, input.from), input.diskSize)
    assertSafeImage(stream)
    return { ...planOnePass(input, stream, seedOf(input, stream, head)), stream, close }
  } catch (error) {
    await close()
    throw error
  }
}

/** A raw disk whose size the caller has said must have it. */
function withSize(stream: DiskStream, diskSize: number | undefined): DiskStream {
  if (diskSize === undefined || stream.virtualSize === diskSize) return stream
  if (stream.virtualSize !== undefined) throw wrongSize(stream.virtualSize, diskSize)
  return {
    ...stream,
    virtualSize: diskSize,
    async *pieces() {
      let end = 0
      for await (const piece of stream.pieces()) {
        end = piece.guest + piece.length
        if (end > diskSize) throw wrongSize(end, diskSize)
        yield piece
      }
      if (end !== diskSize) throw wrongSize(end, diskSize)
    },
  }
}

function wrongSize(found: number, expected: number): DiskferryError {
  return new DiskferryError(
    'short-read',
    `the disk is not as large as was said: ${found} bytes instead of ${expected}`,
    {
      found,
      expected,
      hint: 'leave its size out, or say the true one (--disk-size, option diskSize)',
    },
  )
}

/** As for other sources, but from the head alone: the rest has not come yet. */
function seedOf({ to, writerOptions }: OnePassInput, { format, virtualSize }: DiskStream, head: Buffer): Uint8Array {
  const asked = JSON.stringify({ format, virtualSize, to, writerOptions })
  return createHash('sha256').update(asked).update(head).digest()
}

function planOnePass(input: OnePassInput, stream: DiskStream, seed: Uint8Array) {
  const { writer, writerOptions, pool, meter, signal, keepZeros, to } = input
  const limit = stream.virtualSize ?? UNSAID_LIMIT
  const unitSize = writer.unitSize(limit, writerOptions)
  const plan = (virtualSize: number, areAll: boolean): Layout => {
    const units = new UnitMap(unitSize === undefined ? 0 : virtualSize, unitSize ?? 1)
    if (areAll) units.addRange(0, units.length)
    return writer.plan({ virtualSize, units, seed }, writerOptions)
  }
  const most = plan(limit, true)
  if (most.kind === 'exact' && unitSize !== undefined) throw tablesInFront(to, most.variant)
  if (most.kind === 'packed' && stream.virtualSize === undefined) throw sizeInFront(to)
  const sizeAtMost = most.kind === 'exact' ? most.size : most.sizeAtMost
  const layout = stream.virtualSize === undefined ? undefined : plan(stream.virtualSize, false)
  return {
    layout,
    sizeAtMost,
    async move(sink: Sink) {
      meter.begin('transfer', stream.virtualSize ?? 0)
      const windowSize = windowSizeFor(stream)
      let made = layout
      const exact = (virtualSize: number) => {
        const found = layout ?? plan(virtualSize, false)
        made = found
        if (found.kind !== 'exact') throw sizeInFront(to)
        return found
      }
      const consumer =
        layout?.kind === 'packed'
          ? new PackedConsumer({ layout: bounded(layout, sizeAtMost), pool, sink, windowSize, keepZeros })
          : exactConsumer(exact, sink, windowSize)
      const moved = await onePass({ stream, pool, meter, signal, limit }, consumer, sink)
      return { ...moved, layout: made as Layout }
    },
  }
}

function bounded(layout: PackedLayout, sizeAtMost: number): PackedLayout {
  return { ...layout, sizeAtMost }
}

function tablesInFront(to: string, variant: string): DiskferryError {
  return new DiskferryError('target-unfit', `${to} (${variant}) has tables in front, which depend on the whole disk`, {
    found: to,
    expected: 'raw, fixed vhd, streamOptimized vmdk, zvhd, zvhd2, or compressed qcow2 into a file',
    hint: 'a source that is read once, front to back, can become one of those; or store the source in a file first',
  })
}

function sizeInFront(to: string): DiskferryError {
  return new DiskferryError('target-unfit', `${to} says in front how large the disk is, and a raw stream does not`, {
    found: to,
    hint: 'say how large the disk is (--disk-size, option diskSize), or choose raw or a fixed vhd',
  })
}
