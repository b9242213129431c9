import { KiB } from '../bytes/units.ts'
import { readClipped, type Source } from './source.ts'

/**
 * Where an image comes from that can be read only front to back, once: a pipe, a request's body, a store without ranges.
 * Nothing needs to be known of its length.
 */
export interface SequentialSource {
  /** What people call it, for messages. */
  readonly name?: string
  /** Bytes in all, where that is known: then fewer or more are an error. */
  readonly size?: number
  /** The bytes in order, in chunks of any length. Asked for once. A chunk must not change after it has been given. */
  chunks(): AsyncIterable<Uint8Array>
  /** Lets go of whatever is held, also while a chunk is being waited for. Called once, when reading is over or has failed. */
  close?(): Promise<void> | void
}

export interface SequentialSourceOptions {
  name?: string | undefined
  size?: number | undefined
}

/**
 * A sequential source of a Node `Readable`, a web `ReadableStream` or any other async iterable of bytes. When the
 * conversion is over, or fails, what has a `destroy` is destroyed.
 */
export function sequentialSource(
  from: AsyncIterable<Uint8Array>,
  { name, size }: SequentialSourceOptions = {},
): SequentialSource {
  return {
    ...(name !== undefined && { name }),
    ...(size !== undefined && { size }),
    chunks: () => from,
    close() {
      if ('destroy' in from && typeof from.destroy === 'function') from.destroy()
    },
  }
}

/** What `convert` takes beside sources of random access. */
export type SequentialInput = SequentialSource | AsyncIterable<Uint8Array>

export function isSequentialInput(input: unknown): input is SequentialInput {
  return typeof input === 'object' && input !== null && ('chunks' in input || Symbol.asyncIterator in input)
}

export function asSequentialSource(input: SequentialInput): SequentialSource {
  return 'chunks' in input ? input : sequentialSource(input)
}

const CHUNK_SIZE = 512 * KiB

/** A source of random access, read front to back. It stays its owner's. */
export function inOrder(source: Source): SequentialSource {
  return {
    size: source.size,
    ...(source.name !== undefined && { name: source.name }),
    async *chunks() {
      for (let at = 0; at < source.size; at += CHUNK_SIZE) yield await readClipped(source, at, CHUNK_SIZE)
    },
  }
}
