import { DiskferryError, type PoolOptions } from '../index.ts'

/** A command's pool. Its calling thread has nobody to answer: none need step back, and into a file it can copy itself. */
export function poolOptions(threads: string | undefined, intoFile = false): PoolOptions {
  const free = { niceness: 0, copyHere: intoFile }
  if (threads === undefined) return free
  if (/^\d+$/.test(threads)) return { ...free, threads: Number(threads) }
  throw new DiskferryError('usage', `--threads ${threads} is no whole number`, {
    found: threads,
    expected: '0 or more',
  })
}
