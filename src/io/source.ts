import { DiskferryError } from '../bytes/errors.ts'
import { systemErrorName } from './system-error.ts'

/**
 * Where an image is read from. Any object with `size` and `read` will do; the rest is for those that can do better.
 */
export interface Source {
  /** Bytes in all. */
  readonly size: number
  /** What people call it, for messages. */
  readonly name?: string
  /**
   * Files that hold the same bytes, from the first on, when there are any: ascending by `base`, without gaps. Worker
   * threads share the process's descriptors, so with them they read for themselves; what lies behind them is asked of
   * `read`.
   */
  readonly files?: readonly SourceFile[]
  /** Another one whenever the bytes are others: an object's entity tag, a file's size and time of change. */
  readonly version?: string
  /** The `length` bytes at `offset`; the pipeline asks only for bytes inside `size`. The bytes stay the source's. */
  read(offset: number, length: number): Promise<Uint8Array> | Uint8Array
  /** Fills `target` with the bytes from `offset` on, or rejects: for those that can spare memory of their own that way. */
  readInto?(offset: number, target: Uint8Array): Promise<void>
  /**
   * Where holes are known: runs `[from, to]` of the bytes `start` to `end` that are not holes, ascending. What lies between
   * reads as zeros, and need not be read.
   */
  dataRuns?(start: number, end: number): AsyncIterable<readonly [from: number, to: number]>
  /**
   * Where a read may cost a request: the same source, of which so many more are made at most. A read that would take one
   * more rejects with `OutOfRequests`.
   */
  limited?(requests: number): Source
  /** Rejects with `source-changed` when the source is not what it was when it was opened. */
  assertUnchanged?(): Promise<void>
  close?(): Promise<void>
}

/** A file that holds `length` bytes of a source, from its offset `base` on. Plain data. */
export interface SourceFile {
  readonly fd: number
  readonly name: string
  readonly base: number
  readonly length: number
}

/** Where a source's files end, in its own offsets; 0 without files. */
export function reachOf(files: readonly SourceFile[] = []): number {
  const last = files.at(-1)
  return last === undefined ? 0 : last.base + last.length
}

/** Whether worker threads can read all of it for themselves. */
export function isAllFiles({ files, size }: Source): boolean {
  return files !== undefined && reachOf(files) >= size
}

/** Reads exactly `length` bytes at `offset`. A short answer is an error: missing data must never become zeros. */
export async function readExactly(source: Source, offset: number, length: number): Promise<Uint8Array> {
  const bytes = await source.read(offset, length)
  if (bytes.length !== length) throw shortRead(source.name, offset, length, bytes.length)
  return bytes
}

/** Fills `target` with the bytes from `offset` on. */
export async function readInto(source: Source, offset: number, target: Uint8Array): Promise<void> {
  if (source.readInto !== undefined) return source.readInto(offset, target)
  target.set(await readExactly(source, offset, target.length))
}

/** Reads at most `length` bytes at `offset`, fewer only where the source ends. */
export function readClipped(source: Source, offset: number, length: number): Promise<Uint8Array> {
  return readExactly(source, offset, Math.max(0, Math.min(length, source.size - offset)))
}

export function shortRead(name: string | undefined, offset: number, wanted: number, got: number): DiskferryError {
  return new DiskferryError(
    'short-read',
    `${name ?? 'the source'} gave ${got} of ${wanted} bytes at offset ${offset}`,
    {
      offset,
      found: got,
      expected: wanted,
      hint: 'the file is shorter than it was, or its storage failed: check it and try again',
    },
  )
}

/** A read that the operating system refused. */
export function readFailed(name: string, offset: number, cause: unknown): DiskferryError {
  const found = systemErrorName(cause)
  return new DiskferryError('source-unreadable', `reading ${name} at offset ${offset} failed: ${found}`, {
    offset,
    found,
    hint: 'its storage failed: check it and try again',
    cause,
  })
}

/** An image that is already in memory. The bytes must not change while it is used. */
export function memorySource(bytes: Uint8Array, name = 'memory'): Source {
  return { size: bytes.length, name, read: (offset, length) => bytes.subarray(offset, offset + length) }
}
