import { createHash } from 'node:crypto'
import type { S3Client } from '@aws-sdk/client-s3'
import type { S3Address } from './address.ts'
import { isNote, type JobNote } from './job-note.ts'
import { abortUpload, type ListedPart, listParts, listUploads, type OpenUpload } from './leftovers.ts'
import type { Body } from './object-upload.ts'
import { type PartPlan, partSizeAt } from './parts.ts'

/** An unfinished upload that this job may go on with. */
export interface Resumable {
  readonly uploadId: string
  /** Whole parts; what is short may be a note. */
  readonly parts: ReadonlyMap<number, ListedPart>
  /** Number of a part that is short. */
  readonly short: number | undefined
  /** All parts are known to be this job's. */
  readonly isOurs: boolean
}

/** Unfinished uploads of a key. */
export interface Unfinished {
  /**
   * The one with the most bytes whose parts are as this job would cut them; before all others one that says that it is
   * this job's.
   */
  readonly resumable: Resumable | undefined
  readonly all: readonly OpenUpload[]
}

/**
 * Looks for what an earlier attempt left. Where its parts do not say whose they are, that shows as they are made again:
 * one that differs is sent anew, so the object is right whosever upload it was.
 */
export async function findUnfinished(
  client: S3Client,
  { bucket, key }: S3Address,
  plan: PartPlan,
  note: JobNote | undefined,
): Promise<Unfinished> {
  const all = (await listUploads(client, bucket, key)).filter((upload) => upload.key === key)
  let best: { resumable: Resumable; bytes: number } | undefined
  for (const upload of all) {
    const parts = await listParts(client, bucket, upload)
    if (parts.length === 0 || !fits(parts, plan)) continue
    const found = { resumable: resumableOf(upload, parts, plan, note), bytes: sizeOf(parts) }
    if (best === undefined || isBetter(found, best)) best = found
  }
  return { resumable: best?.resumable, all }
}

function resumableOf(
  { uploadId }: OpenUpload,
  parts: readonly ListedPart[],
  plan: PartPlan,
  note: JobNote | undefined,
): Resumable {
  const last = parts.at(-1)
  const short = last !== undefined && last.size < partSizeAt(plan, last.number) ? last.number : undefined
  const whole = parts.filter(({ number }) => number !== short)
  const isOurs = note !== undefined && isNote(last, note)
  return { uploadId, parts: new Map(whole.map((part) => [part.number, part])), short, isOurs }
}

function sizeOf(parts: readonly ListedPart[]): number {
  return parts.reduce((sum, { size }) => sum + size, 0)
}

function isBetter(one: { resumable: Resumable; bytes: number }, other: typeof one): boolean {
  if (one.resumable.isOurs !== other.resumable.isOurs) return one.resumable.isOurs
  return one.bytes > other.bytes
}

/** Every part has the size that the plan gives it; the last one may be smaller. */
function fits(parts: readonly ListedPart[], plan: PartPlan): boolean {
  return parts.every(({ number, size }, index) => {
    const planned = partSizeAt(plan, number)
    return index === parts.length - 1 ? size <= planned : size === planned
  })
}

const MD5 = /^"?([0-9a-f]{32})"?$/

/** Whether the store has exactly these bytes: by the CRC-32C where it tells it, otherwise by the MD5 that is the ETag. */
export function agrees(listed: ListedPart, { chunks, length, crc32c }: Body): boolean {
  if (listed.size !== length) return false
  if (listed.crc32c !== undefined) return listed.crc32c === crc32c
  const etag = MD5.exec(listed.etag)?.[1]
  if (etag === undefined) return false
  const hash = createHash('md5')
  for (const chunk of chunks) hash.update(chunk)
  return hash.digest('hex') === etag
}

/** What earlier attempts at this key left beside the one that was completed. */
export async function removeOthers(
  client: S3Client,
  bucket: string,
  uploads: readonly OpenUpload[],
  kept: string | undefined,
): Promise<void> {
  for (const upload of uploads) if (upload.uploadId !== kept) await abortUpload(client, bucket, upload)
}
