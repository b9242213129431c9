import { DiskferryError } from '../../bytes/errors.ts'
import type { FormatName } from '../../formats/format.ts'
import type { Target } from '../../io/sink.ts'
import type { Source } from '../../io/source.ts'
import type { Job } from '../job.ts'
import { withImage } from '../opened-image.ts'
import { DIGEST_NAME } from './content-digest.ts'
import { digestContent } from './digest-image.ts'
import { compareContent } from './verify-images.ts'

/** What was found when a target was read back: the same disk as the source's. */
export interface ReadBack {
  /** Of the target's disk, and so of the source's, filled up with zeros where the format rounds sizes up. */
  readonly digest: string
  readonly algorithm: string
}

/** @throws DiskferryError `usage` for a target that can't be read */
export function assertReadable(target: Target): void {
  if (target.readBack !== undefined) return
  throw new DiskferryError('usage', `${target.name} can't be read back`, {
    found: target.name,
    hint: 'verify a file or an object; what a pipe has taken can be verified only by its reader',
  })
}

/** Reads the source once, before anything is made of it. */
export async function sourceDigest({ image, pool, signal }: Job): Promise<string> {
  return (await digestContent(image, image.virtualSize, { pool, signal })).digest
}

/**
 * Reads source and target anew, and holds their digests against each other.
 * @throws DiskferryError `checksum-mismatch`, with the first guest byte that differs; the target stays as it is
 */
export async function readBack(
  { image, layout, pool, signal }: Job,
  target: Target,
  format: string,
): Promise<ReadBack> {
  assertReadable(target)
  const source = await target.readBack?.()
  try {
    return await withImage({ source: source as Source, from: format as FormatName }, async (written) => {
      const options = { pool, signal }
      const { digest } = await digestContent(image, layout.virtualSize, options)
      const found = await digestContent(written, written.virtualSize, options)
      if (found.digest === digest) return { digest, algorithm: DIGEST_NAME }
      const { differsAt } = await compareContent(image, written, { ...options, allowPadding: true })
      throw mismatch(target.name, found.digest, digest, differsAt)
    })
  } finally {
    await source?.close?.()
  }
}

function mismatch(name: string, found: string, expected: string, differsAt: number | undefined): DiskferryError {
  const where = differsAt === undefined ? 'in its size' : `from guest byte ${differsAt} on`
  return new DiskferryError('checksum-mismatch', `${name} was read back, and differs from the source ${where}`, {
    found,
    expected,
    ...(differsAt !== undefined && { offset: differsAt }),
    hint: 'do not use it: the storage, or this machine’s memory, damages what it is given',
  })
}
