import { DiskferryError, isDiskferryError } from '../bytes/errors.ts'
import type { UnitMap } from '../bytes/unit-map.ts'
import type { DiskImage, DiskStream, ImageWriter, Layout } from '../formats/format.ts'
import { type OptionTable, type OptionValues, readOptions } from '../formats/options.ts'
import { WRAPPERS } from '../formats/recognised.ts'
import { writerNamed } from '../formats/registry.ts'
import type { SequentialSource } from '../io/sequential-source.ts'
import type { Sink, Summary } from '../io/sink.ts'
import type { Source } from '../io/source.ts'
import { assertSafeImage } from '../rules/image-safety.ts'
import type { ConversionOptions, ConvertResult } from './convert.ts'
import type { Job } from './job.ts'
import type { PreparedOnePass } from './one-pass/prepare.ts'
import { identityOf } from './plan/identity.ts'
import { seedOf } from './plan/seed.ts'
import { survey } from './plan/survey.ts'
import { createPool, type Pool } from './pool.ts'
import { ProgressMeter } from './progress.ts'
import type { OpenInput } from './source-input.ts'
import { transfer } from './transfer/transfer.ts'

/** What a conversion has, however its source is read. */
export interface Conversion {
  readonly to: string
  readonly writer: ImageWriter
  readonly writerOptions: OptionValues<OptionTable>
  readonly keepZeros: boolean
  readonly pool: Pool
  readonly meter: ProgressMeter
  readonly signal: AbortSignal | undefined
  /** Closes what it was given, the last first. */
  close(): Promise<void>
  /** Gives it something to close. */
  owns<R extends { close?(): Promise<void> }>(resource: R): R
}

/** What a conversion is asked for, apart from its source. */
export type ConversionInput = Omit<ConversionOptions, 'source' | 'diskSize' | keyof OpenInput>

/** @throws DiskferryError `usage` for options that the format does not have; the signal's reason when it is aborted */
export function beginConversion({ to, keepZeros = false, signal, ...input }: ConversionInput): Conversion {
  const writer = writerNamed(to)
  const writerOptions = readOptions(writer.options, input.options ?? {}, to)
  signal?.throwIfAborted()
  const owned: { close?(): Promise<void> }[] = []
  const owns: Conversion['owns'] = (resource) => {
    owned.push(resource)
    return resource
  }
  const pool = input.pool ?? owns(createPool(input))
  const meter = new ProgressMeter(input.onProgress)
  const close = async () => {
    for (const resource of owned.splice(0).reverse()) await resource.close?.()
  }
  return { to, writer, writerOptions, keepZeros, pool, meter, signal, close, owns }
}

/** A conversion of which everything is known that can be before the first byte is made. */
export interface Prepared extends Pick<Conversion, 'to' | 'meter' | 'signal' | 'close'> {
  /** Bytes of the target: exactly, where that is known, and at most. */
  readonly size: number | undefined
  readonly sizeAtMost: number
  /** Bytes in front that are known last. */
  readonly lateHead: number
  /** Stands for all that the target's bytes are made from; undefined where not all of it is known before. */
  readonly fingerprint: string | undefined
  /** Stands for every byte; undefined where that can't be told without reading all of them. */
  readonly identity: () => Promise<string | undefined>
  readonly virtualSize: number | undefined
  /** What the caller named and, where that is something else, what the image reads from: extents, parents, data file. */
  readonly sources: readonly Source[]
  /** Where the source can be read again. */
  readonly planned?: Planned
  /** Moves every byte. Neither finishes the sink nor aborts it. */
  move(sink: Sink): Promise<Moved>
}

/** @throws DiskferryError `usage` for a source that can be read only once */
export function plannedOf({ planned }: Pick<Prepared, 'planned'>): Planned {
  if (planned !== undefined) return planned
  throw new DiskferryError('usage', 'the source can be read only once, front to back', {
    expected: 'a file, or another source that can be read in any place',
    hint: 'verify the target by its digest, or save the source first',
  })
}

/** What has been moved, for the result. */
export interface Moved extends Pick<ConvertResult, 'variant' | 'virtualSize' | 'dataBytes' | 'source' | 'warnings'> {
  readonly summary: Summary
}

/** A conversion between places that may be read anywhere, planned. */
export interface Planned {
  /** What the caller named; the image may read it through another source. */
  readonly source: Source
  readonly job: Job
  readonly to: string
  /** Units of the target that hold data; none where it stores every byte anyway. */
  readonly units: UnitMap
  readonly dataBytes: number
  /** Stands for the source and what is asked of it. */
  readonly seed: Uint8Array
  close(): Promise<void>
}

/** Looks through the image and plans the target. */
export async function planConversion(conversion: Conversion, image: DiskImage, source: Source): Promise<Planned> {
  const { to, writer, writerOptions, keepZeros, pool, meter, signal, close } = conversion
  assertSafeImage(image)
  const { virtualSize } = image
  const unitSize = writer.unitSize(virtualSize, writerOptions)
  const found = await survey(image, pool, meter, { unitSize, keepZeros, signal })
  const seed = await seedOf(image, found, { to, writerOptions })
  const layout = writer.plan({ virtualSize, units: found.units, seed }, writerOptions)
  return { source, job: { image, layout, keepZeros, pool, meter, signal }, to, ...found, seed, close }
}

/** Moves what there is, as planned. */
export function inTwoPasses(planned: Planned): Prepared {
  const { source, job, to, dataBytes, seed, close } = planned
  const { image, layout, meter, signal } = job
  const sources = source === image.source ? [source] : [source, image.source]
  return {
    planned,
    ...{ to, meter, signal, close },
    size: layout.kind === 'exact' ? layout.size : undefined,
    sizeAtMost: layout.kind === 'exact' ? layout.size : layout.sizeAtMost,
    lateHead: layout.kind === 'packed' ? layout.lateHead : 0,
    fingerprint: Buffer.from(seed).toString('hex'),
    identity: () => identityOf(image, sources, seed),
    virtualSize: layout.virtualSize,
    sources,
    async move(sink) {
      meter.begin('transfer', dataBytes)
      const summary = await transfer(job, sink)
      return { summary, ...describe(image, image.virtualSize, layout, image.source.name ?? 'source'), dataBytes }
    },
  }
}

/** `file` is what `source` reads, where there is such. */
export function inOnePass(
  { to, meter, signal, close }: Conversion,
  prepared: PreparedOnePass,
  source: SequentialSource,
  file: Source | undefined,
): Prepared {
  const { layout, sizeAtMost, stream } = prepared
  return {
    ...{ to, meter, signal, close },
    size: layout?.kind === 'exact' ? layout.size : undefined,
    sizeAtMost,
    lateHead: layout?.kind === 'packed' ? layout.lateHead : 0,
    fingerprint: undefined,
    identity: async () => undefined,
    virtualSize: layout?.virtualSize,
    sources: file === undefined ? [] : [file],
    async move(sink) {
      const { summary, dataBytes, diskSize, layout: made } = await prepared.move(sink)
      return { summary, ...describe(stream, diskSize, made, source.name ?? 'stream'), dataBytes }
    },
  }
}

/** The image turned out to be inside a compressed file, which can be unpacked on the way. */
export function isWrapped(error: unknown): boolean {
  return isDiskferryError(error, 'unsupported-format') && WRAPPERS.some((wrapper) => wrapper === error.found)
}

function describe({ format, facts }: DiskImage | DiskStream, virtualSize: number, layout: Layout, name: string) {
  const grown = `the disk grew from ${virtualSize} to ${layout.virtualSize} bytes, which is what the format can hold`
  return {
    variant: layout.variant,
    virtualSize: layout.virtualSize,
    source: { name, format, variant: facts.variant, virtualSize },
    warnings: layout.virtualSize === virtualSize ? [...facts.warnings] : [...facts.warnings, grown],
  }
}
