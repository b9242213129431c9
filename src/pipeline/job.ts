import type { DiskImage, Layout } from '../formats/format.ts'
import type { Pool } from './pool.ts'
import type { ProgressMeter } from './progress.ts'
import type { WorkWindow } from './transfer/window.ts'

/** One conversion, planned: all that moving its bytes takes. */
export interface Job<L extends Layout = Layout> {
  readonly image: DiskImage
  readonly layout: L
  /** Zeros that the source stores are stored by the target too. */
  readonly keepZeros: boolean
  readonly pool: Pool
  readonly meter: ProgressMeter
  readonly signal: AbortSignal | undefined
}

/**
 * Starts `work` for each plan, tells when the last one has been started, and waits for all of it. The first failure
 * stops the rest, and is thrown.
 */
export async function forEachPlan<P, T>(
  plans: AsyncIterable<P>,
  window: WorkWindow<T>,
  signal: AbortSignal | undefined,
  work: (plan: P) => Promise<void>,
  last: () => Promise<void> = async () => undefined,
): Promise<void> {
  try {
    for await (const plan of plans) {
      signal?.throwIfAborted()
      await work(plan)
    }
    await last()
  } catch (error) {
    window.stop(error)
  }
  await window.finish()
}
