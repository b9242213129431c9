import { write } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { Chunk, Receipt, StreamSink, Target } from './sink.ts'
import { targetFailed } from './target-error.ts'

const writeTo = promisify(write)
const AGAIN_MS = 2

/** Standard output. A broken pipe rejects as `target-failed`. */
export function stdoutTarget(): Target {
  return { name: 'standard output', open: async () => descriptorSink(1, 'standard output', async () => undefined) }
}

/** Writes in order to a descriptor that can't seek: a pipe, a FIFO, a device. */
export function descriptorSink(fd: number, name: string, close: () => Promise<void>): StreamSink {
  let turn: Promise<void> = Promise.resolve()
  return {
    kind: 'stream',
    holds: 0,
    write(chunk: Chunk) {
      turn = turn.then(() => writeAll(fd, chunk.bytes)).catch((cause) => Promise.reject(targetFailed(name, cause)))
      return turn
    },
    end: () => undefined,
    stop: () => undefined,
    async finish(): Promise<Receipt> {
      await turn
      await close()
      return { location: name }
    },
    async abort() {
      await turn.catch(() => undefined)
      await close().catch(() => undefined)
    },
  }
}

async function writeAll(fd: number, bytes: Uint8Array): Promise<void> {
  let done = 0
  while (done < bytes.length) {
    try {
      const { bytesWritten } = await writeTo(fd, bytes, done, bytes.length - done, null)
      done += bytesWritten
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
      await delay(AGAIN_MS)
    }
  }
}
