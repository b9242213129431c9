import type { Source, SourceFile } from './source.ts'

/**
 * Where a converted image goes. A `Target` is a place that the caller names; opening it gives a `Sink`, which takes
 * the bytes of one image. All sinks share one contract, and one suite of tests.
 */
export interface Target {
  /** What people call it, for messages and results. */
  readonly name: string
  open(job: SinkJob): Promise<Sink>
  /** What lies there once a sink has finished; whoever asks closes it. Missing where nothing can be read back. */
  readBack?(): Promise<Source>
}

/** What a sink may know before the first byte. */
export interface SinkJob {
  /** Bytes in all: exactly, or undefined while that is not known. */
  readonly size: number | undefined
  /** Bytes in all, at most. */
  readonly sizeAtMost: number
  /** Bytes in front that come last, through `StreamSink.head`; none by default. */
  readonly lateHead?: number | undefined
  /** Stands for the job: the same source and options give the same one, on every machine. */
  readonly fingerprint?: string | undefined
  /** Stands for every byte: jobs that give the same make the same image. Undefined where nobody can tell. */
  readonly identity?: (() => Promise<string | undefined>) | undefined
  /** Digest of the source's disk, for targets that can keep what is said of them. */
  readonly digest?: string | undefined
  /** Aborts requests that are under way. */
  readonly signal?: AbortSignal | undefined
  /** The source's files, so that a target can tell that it is one of them. */
  readonly sourceFiles?: readonly SourceFile[]
}

/** A run of the target's bytes that has been made. */
export interface Chunk {
  /** Offset in the target, bytes. */
  readonly offset: number
  readonly bytes: Uint8Array
  readonly crc32c: number
}

/** A run of the target's bytes that an earlier attempt has sent. Bytes. */
export interface KeptRun {
  readonly offset: number
  readonly length: number
  readonly crc32c: number
}

/** What a sink is told when all bytes have been handed over. */
export interface Summary {
  readonly size: number
  readonly crc32c: number
}

/** What a sink knows of the finished image. */
export interface Receipt {
  /** Where it is: a path, an `s3://` address. */
  readonly location: string
  readonly etag?: string
  readonly parts?: number
  readonly partSize?: number
  /** Bytes that an earlier attempt had sent, and that were not sent again. */
  readonly resumedBytes?: number
}

/** Takes the bytes of one image, once. Exactly one of `finish` and `abort` ends it. */
export type Sink = PositionedSink | StreamSink

interface SinkEnd {
  /** Makes the image visible under its name. Rejects when what is there can't be shown to be what was sent. */
  finish(summary: Summary): Promise<Receipt>
  /** Removes whatever was begun. Called at most once, never after `finish` has resolved. */
  abort(reason: unknown): Promise<void>
}

/** A file: anyone may write anywhere in it, in any order, and what nobody writes reads as zeros. */
export interface PositionedSink extends SinkEnd {
  readonly kind: 'positioned'
  readonly fd: number
  /** What people call it, for messages. */
  readonly name: string
}

/** A stream: takes chunks in order, each byte once. */
export interface StreamSink extends SinkEnd {
  readonly kind: 'stream'
  /** When given, no chunk may cross a multiple of it. */
  readonly partSize?: number
  /** How many bytes the sink may hold on to while it waits for more. The pipeline owns at least that much memory. */
  readonly holds: number
  /**
   * Takes the next chunk. Called in order, but without waiting for the one before: the promise resolves when the
   * sink needs `chunk.bytes` no more, and only then is that memory used again. That is all the backpressure there is.
   */
  write(chunk: Chunk): Promise<void>
  /** The run that the byte at `offset` lies in, when it is there already and nobody needs to make it: see `pass`. */
  kept?(offset: number): KeptRun | undefined
  /** Passes over a kept run, in order, in place of writing it. */
  pass?(run: KeptRun): void
  /**
   * Replaces the first `bytes.length` bytes of the image, which were handed over as one chunk; `replaced` is their
   * CRC-32C. Called at most once, before `end`. A sink without it takes no late head.
   */
  head?(bytes: Uint8Array, crc32c: number, replaced: number): void
  /** No chunk follows the ones that have been handed over. Called once, before `finish`, without waiting for any. */
  end(): void
  /** Something has failed: writes that wait, and later ones, reject. `abort` follows when nothing waits any more. */
  stop(reason: unknown): void
}
