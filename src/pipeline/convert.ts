import { performance } from 'node:perf_hooks'
import type { Readable } from 'node:stream'
import { crc32cToHex } from '../bytes/crc32c.ts'
import { DiskferryError } from '../bytes/errors.ts'
import type { WriterOptions } from '../formats/registry.ts'
import { fileTarget } from '../io/file-target.ts'
import { readableTarget } from '../io/readable-target.ts'
import { asSequentialSource, inOrder, isSequentialInput, type SequentialSource } from '../io/sequential-source.ts'
import type { Receipt, Sink, Target } from '../io/sink.ts'
import type { Source } from '../io/source.ts'
import { assertReadable, type ReadBack, readBack, sourceDigest } from './digest/read-back.ts'
import { prepareOnePass } from './one-pass/prepare.ts'
import { openNamed, openOwned } from './plan-target.ts'
import type { Pool, PoolOptions } from './pool.ts'
import {
  beginConversion,
  inOnePass,
  inTwoPasses,
  isWrapped,
  type Prepared,
  planConversion,
  plannedOf,
} from './prepared.ts'
import type { ProgressListener } from './progress.ts'
import type { ConvertSource, OpenInput } from './source-input.ts'

/** What to convert, and into what. */
export interface ConversionOptions<T extends keyof WriterOptions = keyof WriterOptions> extends PoolOptions, OpenInput {
  source: ConvertSource
  to: T
  /** Options of the target's format. */
  options?: WriterOptions[T] | undefined
  /** Units that the source stores stay stored even where they hold only zeros. Default: zeros are dropped. */
  keepZeros?: boolean | undefined
  /**
   * Guest bytes of a raw disk that comes front to back: its end is where the stream ends, but formats that say in front
   * how large the disk is must know before.
   */
  diskSize?: number | undefined
  signal?: AbortSignal | undefined
  onProgress?: ProgressListener | undefined
  /** Threads to share with other conversions; otherwise this one has its own. */
  pool?: Pool | undefined
}

export interface ConvertOptions<T extends keyof WriterOptions = keyof WriterOptions> extends ConversionOptions<T> {
  /** Where it goes: a path, or a target such as `fileTarget` or `s3Target` makes. */
  target: string | Target
  /** Read the target back when it is whole, and compare its disk with the source's. Default false. */
  verify?: boolean | undefined
  /**
   * Reckon the digest of the source's disk first, which reads it once more: it is returned, and objects keep it as
   * metadata. Default false.
   */
  digest?: boolean | undefined
}

/** What a conversion did. Sizes in bytes. */
export interface ConvertResult extends Receipt {
  readonly format: string
  readonly variant: string
  /** Guest bytes that the target shows. */
  readonly virtualSize: number
  /** Size of what was written, holes in a file included. */
  readonly bytesWritten: number
  /** Guest bytes that the source stored. */
  readonly dataBytes: number
  /** CRC-32C of everything written, as eight hexadecimal digits. */
  readonly crc32c: string
  readonly source: {
    readonly name: string
    readonly format: string
    readonly variant: string
    readonly virtualSize: number
  }
  /** What was odd and did not stop the conversion, as sentences. */
  readonly warnings: readonly string[]
  /** With `digest`: that of the source's disk, as `digestImage` gives it. */
  readonly digest?: string
  /** With `verify`: what was found when the target was read back. */
  readonly verified?: ReadBack
  readonly seconds: number
}

/**
 * Converts an image and puts it where `target` says. When the promise rejects, nothing runs any more and nothing
 * half-written is left: the first error is thrown, everything else has been awaited.
 * @throws DiskferryError for whatever is wrong with the image or the target; the signal's reason when it is aborted
 */
export async function convert<T extends keyof WriterOptions>(options: ConvertOptions<T>): Promise<ConvertResult> {
  const started = performance.now()
  const target = typeof options.target === 'string' ? fileTarget(options.target) : options.target
  if (options.verify) assertReadable(target)
  const prepared = await prepare(options)
  try {
    const planned = options.verify || options.digest ? plannedOf(prepared) : undefined
    const digest = options.digest && planned ? await sourceDigest(planned.job) : undefined
    const result = await run(prepared, target, started, digest)
    if (planned === undefined || !options.verify) return result
    const verified = await readBack(planned.job, target, result.format)
    return { ...result, verified, seconds: (performance.now() - started) / 1000 }
  } finally {
    await prepared.close()
  }
}

/** A conversion as a stream. */
export interface ConversionStream {
  /** The target's bytes. Destroying it stops the conversion. */
  readonly stream: Readable
  /** How many there will be, exactly: what a `Content-Length` wants. Undefined when units are packed on the way. */
  readonly size: number | undefined
  /** Undefined where only the end of a raw stream tells. */
  readonly virtualSize: number | undefined
  /** Settles when the stream has ended, or failed. */
  readonly result: Promise<ConvertResult>
}

/** Opens an image and gives its conversion as a Node `Readable`, to be piped anywhere. */
export async function convertToStream<T extends keyof WriterOptions>(
  options: ConversionOptions<T>,
): Promise<ConversionStream> {
  const started = performance.now()
  const abandoned = new AbortController()
  const signal = options.signal ? AbortSignal.any([options.signal, abandoned.signal]) : abandoned.signal
  const prepared = await prepare({ ...options, signal })
  const reason = new DiskferryError('target-failed', 'the stream was destroyed before it had been read to its end')
  const target = readableTarget(() => abandoned.abort(reason))
  const result = run(prepared, target, started).finally(prepared.close)
  result.catch(() => undefined)
  const { size, virtualSize } = prepared
  return { stream: target.stream, size, virtualSize, result }
}

async function prepare(options: ConversionOptions): Promise<Prepared> {
  const conversion = beginConversion(options)
  const onePass = async (source: SequentialSource, file?: Source) => {
    const { from, diskSize } = options
    const prepared = conversion.owns(await prepareOnePass({ ...conversion, from, diskSize, source }))
    return inOnePass(conversion, prepared, source, file)
  }
  try {
    const { source: input } = options
    if (isSequentialInput(input)) return await onePass(asSequentialSource(input))
    const source = await openNamed(conversion, input)
    const image = await openOwned(conversion, source, { ...options, source: input }).catch((error) => {
      if (isWrapped(error)) return undefined
      throw error
    })
    if (image === undefined) return await onePass(inOrder(source), source)
    return inTwoPasses(await planConversion(conversion, image, source))
  } catch (error) {
    await conversion.close()
    throw error
  }
}

async function run(prepared: Prepared, target: Target, started: number, digest?: string): Promise<ConvertResult> {
  const { to, size, sizeAtMost, lateHead, fingerprint, identity, sources, meter, signal } = prepared
  const sink = await target.open({
    size,
    sizeAtMost,
    lateHead,
    fingerprint,
    identity,
    digest,
    signal,
    sourceFiles: sources.flatMap(({ files = [] }) => files),
  })
  try {
    const { summary, ...moved } = await prepared.move(sink)
    for (const source of sources) await source.assertUnchanged?.()
    signal?.throwIfAborted()
    meter.begin('finish', 0)
    const receipt = await sink.finish(summary)
    meter.end()
    return {
      ...receipt,
      format: to,
      bytesWritten: summary.size,
      crc32c: crc32cToHex(summary.crc32c),
      ...(digest !== undefined && { digest }),
      ...moved,
      seconds: (performance.now() - started) / 1000,
    }
  } catch (error) {
    await discard(sink, error)
    throw error
  }
}

/** The first error wins: one that comes up while cleaning away goes along as its cause. */
async function discard(sink: Sink, error: unknown): Promise<void> {
  try {
    await sink.abort(error)
  } catch (second) {
    if (error instanceof Error) error.cause ??= second
  }
}
