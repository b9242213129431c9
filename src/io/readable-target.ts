import { Readable } from 'node:stream'
import { setImmediate } from 'node:timers/promises'
import { DiskferryError } from '../bytes/errors.ts'
import { KiB, MiB } from '../bytes/units.ts'
import type { Chunk, Receipt, StreamSink, Summary, Target } from './sink.ts'

/** A Node `Readable` of the converted image, and the target that feeds it. */
export interface ReadableTarget extends Target {
  readonly stream: Readable
}

/** So much fresh memory comes from what was freed before; a larger piece is mapped anew, page by page: 10 times slower. */
const PIECE = 64 * KiB
/** Enough that a reader seldom waits for us, nor we for it. */
const AHEAD = MiB

/**
 * Bytes for whoever reads `stream`. Each chunk is copied into memory of its own, because a reader may keep it for as
 * long as it likes. When the conversion fails, the stream is destroyed with the error; when the reader destroys the
 * stream, the conversion stops.
 */
export function readableTarget(onAbandoned: () => void, name = 'stream'): ReadableTarget {
  let wake: (() => void) | undefined
  const awaken = () => {
    wake?.()
    wake = undefined
  }
  const stream = new Readable({
    highWaterMark: AHEAD,
    read: awaken,
    destroy(error, done) {
      awaken()
      if (!stream.readableEnded) onAbandoned()
      done(error)
    },
  })
  let turn: Promise<void> = Promise.resolve()

  /** The host's event loop turns between chunks, however fast the reader is. */
  async function push(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; at += PIECE) {
      if (stream.destroyed) throw abandoned()
      if (!stream.push(Buffer.from(bytes.subarray(at, at + PIECE)))) await read()
    }
    await setImmediate()
  }

  function read(): Promise<void> {
    return new Promise((resolve) => {
      wake = resolve
    })
  }

  const stop = (reason: unknown) => {
    stream.destroy(reason instanceof Error ? reason : new Error(String(reason)))
  }

  const sink: StreamSink = {
    kind: 'stream',
    holds: 0,
    write(chunk: Chunk) {
      turn = turn.then(() => push(chunk.bytes))
      return turn
    },
    end: () => undefined,
    async finish({ size }: Summary): Promise<Receipt> {
      await turn
      if (stream.destroyed) throw abandoned()
      stream.push(null)
      return { location: `${name} of ${size} bytes` }
    },
    stop,
    async abort(reason) {
      stop(reason)
      await turn.catch(() => undefined)
    },
  }
  return { name, stream, open: async () => sink }
}

function abandoned(): DiskferryError {
  return new DiskferryError('target-failed', 'the stream was destroyed before it had been read to its end')
}
