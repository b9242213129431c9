import { performance } from 'node:perf_hooks'
import type { Readable } from 'node:stream'
import { crc32cToHex } from '../bytes/crc32c.ts'
import { DiskferryError } from '../bytes/errors.ts'
import type { DiskImage, Layout } from '../formats/format.ts'
import { readOptions } from '../formats/options.ts'
import { openImage, type WriterOptions, writerNamed } from '../formats/registry.ts'
import { fileTarget } from '../io/file-target.ts'
import { readableTarget } from '../io/readable-target.ts'
import type { Receipt, Sink, Target } from '../io/sink.ts'
import type { Source } from '../io/source.ts'
import { assertSafeImage } from '../rules/image-safety.ts'
import type { Job } from './job.ts'
import { createPool, type Pool, type PoolOptions } from './pool.ts'
import { type ProgressListener, ProgressMeter } from './progress.ts'
import { seedOf } from './seed.ts'
import { companionsOf, type OpenInput, openSource, type SourceInput } from './source-input.ts'
import { survey } from './survey.ts'
import { transfer } from './transfer.ts'

/** What to convert, and into what. */
export interface ConversionOptions<T extends keyof WriterOptions = keyof WriterOptions> extends PoolOptions, OpenInput {
  source: SourceInput
  to: T
  /** Options of the target's format. */
  options?: WriterOptions[T] | undefined
  /** Units that the source stores stay stored even where they hold only zeros. Default: zeros are dropped. */
  keepZeros?: boolean | undefined
  signal?: AbortSignal | undefined
  onProgress?: ProgressListener | undefined
  /** Threads to share with other conversions; otherwise this one has its own. */
  pool?: Pool | undefined
}

export interface ConvertOptions<T extends keyof WriterOptions = keyof WriterOptions> extends ConversionOptions<T> {
  /** Where it goes: a path, or a target such as `fileTarget` or `s3Target` makes. */
  target: string | Target
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
  const prepared = await prepare(options)
  try {
    return await run(prepared, target, started)
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
  readonly virtualSize: number
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
  const { layout } = prepared.job
  return { stream: target.stream, size: sizeOf(layout).size, virtualSize: layout.virtualSize, result }
}

/** Everything that is known before the first byte is made. */
interface Prepared {
  /** What the caller named; the image may read it through another source. */
  readonly source: Source
  readonly job: Job
  readonly to: string
  readonly dataBytes: number
  close(): Promise<void>
}

async function prepare<T extends keyof WriterOptions>(options: ConversionOptions<T>): Promise<Prepared> {
  const { to, keepZeros = false, signal } = options
  const writer = writerNamed(to)
  const writerOptions = readOptions(writer.options, options.options ?? {}, to)
  signal?.throwIfAborted()
  const opened: { close?(): Promise<void> }[] = []
  const close = async () => {
    for (const resource of opened.splice(0).reverse()) await resource.close?.()
  }
  try {
    const pool = options.pool ?? createPool(options)
    if (options.pool === undefined) opened.push(pool)
    const source = await openSource(options.source)
    if (source !== options.source) opened.push(source)
    const image = await openImage(source, { companions: companionsOf(options.source), ...openOptions(options) })
    opened.push(image)
    assertSafeImage(image)
    const meter = new ProgressMeter(options.onProgress)
    const unitSize = writer.unitSize(image.virtualSize, writerOptions)
    const found = await survey(image, pool, meter, { unitSize, keepZeros, signal })
    const seed = await seedOf(image, found, { to, writerOptions })
    const layout = writer.plan({ virtualSize: image.virtualSize, units: found.units, seed }, writerOptions)
    return { source, job: { image, layout, pool, meter, signal }, to, dataBytes: found.dataBytes, close }
  } catch (error) {
    await close()
    throw error
  }
}

function openOptions({ from, companions, backing, snapshot }: OpenInput): OpenInput {
  return { from, backing, snapshot, ...(companions !== undefined && { companions }) }
}

async function run(prepared: Prepared, target: Target, started: number): Promise<ConvertResult> {
  const { job, to, dataBytes } = prepared
  const { image, layout, meter, signal } = job
  const sink = await target.open({
    ...sizeOf(layout),
    signal,
    sourceFiles: sourcesOf(prepared).flatMap(({ files = [] }) => files),
  })
  try {
    meter.begin('transfer', dataBytes)
    const summary = await transfer(job, sink)
    for (const source of sourcesOf(prepared)) await source.assertUnchanged?.()
    signal?.throwIfAborted()
    meter.begin('finish', 0)
    const receipt = await sink.finish(summary)
    meter.end()
    return {
      ...receipt,
      format: to,
      variant: layout.variant,
      virtualSize: layout.virtualSize,
      bytesWritten: summary.size,
      dataBytes,
      crc32c: crc32cToHex(summary.crc32c),
      source: describeSource(image),
      warnings: warningsOf(image, layout),
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

/** What the caller named and, where that is something else, what the image reads from: extents, parents, data file. */
function sourcesOf({ source, job }: Prepared): Source[] {
  return source === job.image.source ? [source] : [source, job.image.source]
}

function sizeOf(layout: Layout): { size: number | undefined; sizeAtMost: number } {
  if (layout.kind === 'exact') return { size: layout.size, sizeAtMost: layout.size }
  return { size: undefined, sizeAtMost: layout.sizeAtMost }
}

function describeSource({ source, format, facts, virtualSize }: DiskImage): ConvertResult['source'] {
  return { name: source.name ?? 'source', format, variant: facts.variant, virtualSize }
}

function warningsOf({ facts, virtualSize }: DiskImage, layout: Layout): string[] {
  if (layout.virtualSize === virtualSize) return [...facts.warnings]
  const grown = `the disk grew from ${virtualSize} to ${layout.virtualSize} bytes, which is what the format can hold`
  return [...facts.warnings, grown]
}
