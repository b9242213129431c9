import type { DiskImage } from '../../formats/format.ts'
import { forEachPlan } from '../job.ts'
import { withImage, withPool } from '../opened-image.ts'
import type { FillPlan } from '../plan/fill-plan.ts'
import { packPlans } from '../plan/plans.ts'
import { type StagedWork, withInput } from '../plan/stage.ts'
import { survey } from '../plan/survey.ts'
import type { Pool, PoolOptions } from '../pool.ts'
import { type ProgressListener, ProgressMeter } from '../progress.ts'
import type { ImageInput } from '../source-input.ts'
import type { DigestResult, GuestRead } from '../tasks/tasks.ts'
import { WorkWindow } from '../transfer/window.ts'
import { ContentDigest, DIGEST_BLOCK, DIGEST_NAME, HASH_SIZE } from './content-digest.ts'

export interface ReadOptions extends PoolOptions {
  signal?: AbortSignal | undefined
  onProgress?: ProgressListener | undefined
  /** Threads to share with other work; otherwise there are some for this alone. */
  pool?: Pool | undefined
}

export interface ImageDigest {
  /** 64 hexadecimal digits. The same for every image of the same disk, whatever its format. */
  readonly digest: string
  /** How it is reckoned: `diskferry content 1`. */
  readonly algorithm: string
  readonly format: string
  /** Guest bytes. */
  readonly virtualSize: number
  /** Guest bytes that were read. */
  readonly dataBytes: number
}

/**
 * The digest of what the guest sees. Holes and zeros that the image states are never read.
 * @throws DiskferryError for whatever is wrong with the image
 */
export function digestImage(input: ImageInput, options: ReadOptions = {}): Promise<ImageDigest> {
  return withPool(options, (pool) =>
    withImage(input, async (image) => ({
      ...(await digestContent(image, image.virtualSize, { ...options, pool })),
      algorithm: DIGEST_NAME,
      format: image.format,
      virtualSize: image.virtualSize,
    })),
  )
}

/** The digest of an open image as if zeros made it `size` bytes long. */
export async function digestContent(
  image: DiskImage,
  size: number,
  { pool, signal, onProgress }: ReadOptions & { pool: Pool },
): Promise<{ digest: string; dataBytes: number }> {
  const meter = new ProgressMeter(onProgress)
  const { units, dataBytes } = await survey(image, pool, meter, { unitSize: DIGEST_BLOCK, keepZeros: true, signal })
  const content = new ContentDigest(size)
  const window = new WorkWindow(Array(pool.threads + 2).keys(), signal)
  let turn: Promise<void> = Promise.resolve()
  meter.begin('transfer', dataBytes)
  await forEachPlan(packPlans(image, { units }), window, signal, ({ units: blocks, fill }) =>
    window.start(async () => {
      const before = turn
      const hashed = withGuest({ image, pool, window }, fill, (read) =>
        pool.run('digest', { ...read, blockSize: DIGEST_BLOCK }),
      )
      turn = hashed.then(async (result) => {
        await before
        addLeaves(content, blocks, result)
        meter.add(fill.dataBytes)
      })
      await turn
    }),
  )
  meter.end()
  return { digest: content.end(), dataBytes }
}

function addLeaves(content: ContentDigest, blocks: Float64Array, { leaves, zero }: DigestResult): void {
  for (const [index, block] of blocks.entries()) {
    if (zero[index] !== 1) content.add(block, Buffer.from(leaves.subarray(index * HASH_SIZE, (index + 1) * HASH_SIZE)))
  }
}

/** Gives a task the guest bytes of a plan to read, for as long as it runs. */
export function withGuest<T>(work: StagedWork, plan: FillPlan, use: (read: GuestRead) => Promise<T>): Promise<T> {
  const { ops, literals, runs, madeBytes } = plan
  const codecs = work.image.codecs ?? []
  return withInput(work, runs, (input) => use({ input, codecs, ops, literals, madeBytes }))
}
