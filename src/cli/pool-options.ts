import { DiskferryError, type PoolOptions } from '../index.ts'

/** A command's pool; its calling thread has nobody to answer, so that none need step back. */
export function poolOptions(threads: string | undefined): PoolOptions {
  if (threads === undefined) return { niceness: 0 }
  if (/^\d+$/.test(threads)) return { niceness: 0, threads: Number(threads) }
  throw new DiskferryError('usage', `--threads ${threads} is no whole number`, {
    found: threads,
    expected: '0 or more',
  })
}
