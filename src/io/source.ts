import { DiskferryError } from '../bytes/errors.ts'

/**
 * Where an image is read from. Any object with `size` and `read` will do; the rest is for those that can do better.
 */
export interface Source {
  /** Bytes in all. */
  readonly size: number
  /** What people call it, for messages. */
  readonly name?: string
  /**
   * Files that hold the same bytes, when there are any: ascending by `base`, without gaps. Worker threads share the
   * process's descriptors, so with them they read for themselves.
   */
  readonly files?: readonly SourceFile[]
  /** The `length` bytes at `offset`; the pipeline asks only for bytes inside `size`. The bytes stay the source's. */
  read(offset: number, length: number): Promise<Uint8Array> | Uint8Array
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

/** Reads exactly `length` bytes at `offset`. A short answer is an error: missing data must never become zeros. */
export async function readExactly(source: Source, offset: number, length: number): Promise<Uint8Array> {
  const bytes = await source.read(offset, length)
  if (bytes.length !== length) throw shortRead(source.name, offset, length, bytes.length)
  return bytes
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

/** An image that is already in memory. The bytes must not change while it is used. */
export function memorySource(bytes: Uint8Array, name = 'memory'): Source {
  return { size: bytes.length, name, read: (offset, length) => bytes.subarray(offset, offset + length) }
}
