import { createHash } from 'node:crypto'
import { crc32c, crc32cToBase64 } from '../../bytes/crc32c.ts'
import type { SinkJob } from '../sink.ts'
import type { ListedPart } from './leftovers.ts'
import type { Body } from './object-upload.ts'
import type { PartPlan } from './parts.ts'

/**
 * Whose parts an unfinished upload has. A store lists neither metadata nor tags of what is not complete, so the job is
 * noted in the place of the last part, until that is sent, after all others. Who finds the note knows that the parts
 * beside it are those of the very same job, and need not make them to compare.
 */
export interface JobNote {
  /** Number of the last part. */
  readonly number: number
  readonly body: Body
}

/** The job's note; undefined for one that can't be told from others, or has no second part. */
export async function noteOf(
  { size, identity, digest }: SinkJob,
  { partSize }: PartPlan,
): Promise<JobNote | undefined> {
  if (size === undefined || size <= partSize) return undefined
  const job = await identity?.()
  if (job === undefined) return undefined
  const text = `diskferry job ${job}, ${size} bytes by ${partSize}, digest ${digest ?? 'not known'}\n`
  return { number: Math.ceil(size / partSize), body: bodyOf(text) }
}

/** Takes another job's note away before its upload gets parts that are not that job's. */
export const NO_NOTE = bodyOf('diskferry: any job\n')

function bodyOf(text: string): Body {
  const bytes = Buffer.from(text)
  return { chunks: [bytes], length: bytes.length, crc32c: crc32cToBase64(crc32c(bytes)) }
}

/** By the entity tag, which is the MD5: a CRC-32C could agree by chance. */
export function isNote(part: ListedPart | undefined, { number, body }: JobNote): boolean {
  if (part?.number !== number || part.size !== body.length) return false
  const hash = createHash('md5')
  for (const chunk of body.chunks) hash.update(chunk)
  return part.etag.replaceAll('"', '') === hash.digest('hex')
}
