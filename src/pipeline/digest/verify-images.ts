import { UnitMap } from '../../bytes/unit-map.ts'
import type { DiskImage } from '../../formats/format.ts'
import { forEachPlan } from '../job.ts'
import { withImage, withPool } from '../opened-image.ts'
import { type PackPlan, packPlans } from '../plan/plans.ts'
import { survey } from '../plan/survey.ts'
import type { Pool } from '../pool.ts'
import { ProgressMeter } from '../progress.ts'
import type { ImageInput } from '../source-input.ts'
import { WorkWindow } from '../transfer/window.ts'
import { DIGEST_BLOCK } from './content-digest.ts'
import { type ReadOptions, withGuest } from './digest-image.ts'

export interface VerifyOptions extends ReadOptions {
  /** One disk may be longer, as long as it goes on with zeros: some formats round sizes up. Default false. */
  allowPadding?: boolean | undefined
}

/** What sets two disks apart. Sizes and offsets are guest bytes. */
export interface Verification {
  readonly equal: boolean
  /** The first guest byte that differs, or that only one of them has. */
  readonly differsAt?: number
  readonly reason?: 'content' | 'size'
  readonly virtualSizes: readonly [number, number]
}

/**
 * Compares what the guest sees of two images, of any formats and in any places. What neither stores is not read.
 * @throws DiskferryError when one of them can't be read
 */
export function verifyImages(
  first: ImageInput,
  second: ImageInput,
  options: VerifyOptions = {},
): Promise<Verification> {
  return withPool(options, (pool) =>
    withImage(first, (one) => withImage(second, (other) => compareContent(one, other, { ...options, pool }))),
  )
}

export async function compareContent(
  first: DiskImage,
  second: DiskImage,
  options: VerifyOptions & { pool: Pool },
): Promise<Verification> {
  const virtualSizes = [first.virtualSize, second.virtualSize] as const
  const shorter = Math.min(...virtualSizes)
  const differsAt = await firstDifference(first, second, options)
  if (differsAt !== undefined && differsAt < shorter)
    return { equal: false, differsAt, reason: 'content', virtualSizes }
  const sameSize = first.virtualSize === second.virtualSize
  if (differsAt === undefined && (sameSize || options.allowPadding)) return { equal: true, virtualSizes }
  const at = options.allowPadding ? (differsAt ?? shorter) : shorter
  return { equal: false, differsAt: at, reason: options.allowPadding ? 'content' : 'size', virtualSizes }
}

/** Pairs of batches are begun in ascending order, so the least of what they find is the first. */
async function firstDifference(
  first: DiskImage,
  second: DiskImage,
  { pool, signal, onProgress }: VerifyOptions & { pool: Pool },
): Promise<number | undefined> {
  const meter = new ProgressMeter(onProgress)
  const found = { at: Number.POSITIVE_INFINITY }
  const { units, dataBytes } = await unitsOfBoth(first, second, { pool, signal, meter })
  const window = new WorkWindow(Array(pool.threads + 2).keys(), signal)
  meter.begin('transfer', dataBytes)
  await forEachPlan(pairs(first, second, units, found), window, signal, ([one, other]) =>
    window.start(async () => {
      const { differsAt } = await withGuest({ image: first, pool, window }, one.fill, (a) =>
        withGuest({ image: second, pool, window }, other.fill, (b) =>
          pool.run('compare', { codecs: [...a.codecs, ...b.codecs], first: a, second: b }),
        ),
      )
      if (differsAt !== undefined) found.at = Math.min(found.at, guestOffset(one.units, differsAt))
      meter.add(one.fill.dataBytes + other.fill.dataBytes)
    }),
  )
  meter.end()
  return Number.isFinite(found.at) ? found.at : undefined
}

async function unitsOfBoth(
  first: DiskImage,
  second: DiskImage,
  { pool, signal, meter }: { pool: Pool; signal: AbortSignal | undefined; meter: ProgressMeter },
): Promise<{ units: UnitMap; dataBytes: number }> {
  const units = new UnitMap(Math.max(first.virtualSize, second.virtualSize), DIGEST_BLOCK)
  let dataBytes = 0
  for (const image of [first, second]) {
    const found = await survey(image, pool, meter, { unitSize: DIGEST_BLOCK, keepZeros: true, signal })
    for (const { from, to } of found.units.runs()) units.addRange(from, to)
    dataBytes += found.dataBytes
  }
  return { units, dataBytes }
}

/** The same blocks of both, until a difference has been found. */
async function* pairs(
  first: DiskImage,
  second: DiskImage,
  units: UnitMap,
  found: { readonly at: number },
): AsyncGenerator<[PackPlan, PackPlan]> {
  const others = packPlans(second, { units })
  try {
    for await (const one of packPlans(first, { units })) {
      const other = await others.next()
      if (other.done || Number.isFinite(found.at)) return
      yield [one, other.value]
    }
  } finally {
    await others.return(undefined)
  }
}

function guestOffset(blocks: Float64Array, at: number): number {
  return (blocks[Math.floor(at / DIGEST_BLOCK)] as number) * DIGEST_BLOCK + (at % DIGEST_BLOCK)
}
