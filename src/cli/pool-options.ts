import { createPool, DiskferryError, type Pool, type PoolOptions } from '../index.ts'
import { helpingPool } from '../pipeline/pool.ts'
import { NICENESS, takeWorkers } from './early-workers.ts'

export function poolOptions(threads: string | undefined): PoolOptions {
  if (threads === undefined) return { niceness: NICENESS }
  if (/^\d+$/.test(threads)) return { niceness: NICENESS, threads: Number(threads) }
  throw new DiskferryError('usage', `--threads ${threads} is no whole number`, {
    found: threads,
    expected: '0 or more',
  })
}

/** Of a conversion: its calling thread copies as well. Whoever calls this closes it. */
export function conversionPool(threads: string | undefined): Pool {
  const early = threads === undefined ? takeWorkers() : undefined
  return early === undefined ? createPool({ ...poolOptions(threads), copyHere: true }) : helpingPool(early)
}
