import { DiskferryError } from '../bytes/errors.ts'
import { systemErrorName } from './system-error.ts'

const HINTS: Readonly<Record<string, string>> = {
  ENOENT: 'make its folder first',
  EACCES: 'check that its folder may be written to',
  ENOSPC: 'free some space, or convert straight into object storage',
  EDQUOT: 'the quota is used up: free some space',
  EFBIG: 'this file system can not hold a file of this size',
  EPIPE: 'the reader went away before it had read everything',
}

/** A write that the operating system refused, with what can be done about it. */
export function targetFailed(name: string, cause: unknown): DiskferryError {
  if (cause instanceof DiskferryError) return cause
  const found = systemErrorName(cause)
  const hint = HINTS[found]
  return new DiskferryError('target-failed', `can't write ${name}: ${found}`, { found, ...(hint && { hint }), cause })
}
