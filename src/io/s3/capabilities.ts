import { randomUUID } from 'node:crypto'
import type { S3Client } from '@aws-sdk/client-s3'
import { crc32c, crc32cToBase64 } from '../../bytes/crc32c.ts'
import { statusOf } from './attempts.ts'
import { s3Failed } from './s3-error.ts'

/** What a store does of what an upload can make use of. */
export interface StoreCapabilities {
  /** A part that differs from its CRC-32C is refused: damage on the way can't go unseen. */
  readonly verifiesChecksums: boolean
  /** The store tells the CRC-32C of parts that it has: they need not be sent again. */
  readonly listsChecksums: boolean
  /** `If-None-Match: *` keeps an object from being replaced. */
  readonly writesConditionally: boolean
}

interface Place {
  readonly Bucket: string
  readonly Key: string
}

/**
 * Tries a store out: begins an upload in the bucket, sends a part of a few bytes, and aborts it; writes an object of a few
 * bytes, and removes it. Their key begins with `prefix`, and is new.
 * @throws DiskferryError `target-failed`, with a hint, when an upload can't even be begun there
 */
export async function tryStore(client: S3Client, bucket: string, prefix = ''): Promise<StoreCapabilities> {
  const place: Place = { Bucket: bucket, Key: `${prefix}.diskferry-doctor-${randomUUID()}` }
  const s3 = await import('@aws-sdk/client-s3')
  const checksums = await tryUpload(s3, client, place)
  return { ...checksums, writesConditionally: await tryCondition(s3, client, place) }
}

type Commands = typeof import('@aws-sdk/client-s3')

const CONTENT = Buffer.from('diskferry')

async function tryUpload(
  { AbortMultipartUploadCommand, CreateMultipartUploadCommand, ListPartsCommand, UploadPartCommand }: Commands,
  client: S3Client,
  place: Place,
): Promise<Pick<StoreCapabilities, 'verifiesChecksums' | 'listsChecksums'>> {
  const { UploadId } = await asking(`beginning an upload to ${place.Bucket}`, () =>
    client.send(new CreateMultipartUploadCommand({ ...place, ChecksumAlgorithm: 'CRC32C' })),
  )
  const upload = { ...place, UploadId }
  const part = (crc: number) =>
    client.send(new UploadPartCommand({ ...upload, PartNumber: 1, Body: CONTENT, ChecksumCRC32C: crc32cToBase64(crc) }))
  try {
    const right = crc32c(CONTENT)
    const verifiesChecksums = await isRefused(() => part(right ^ 1))
    await asking(`sending a part to ${place.Bucket}`, () => part(right))
    const { Parts = [] } = await client.send(new ListPartsCommand(upload)).catch(() => ({ Parts: [] }))
    return { verifiesChecksums, listsChecksums: Parts[0]?.ChecksumCRC32C === crc32cToBase64(right) }
  } finally {
    await asking(`aborting an upload to ${place.Bucket}`, () => client.send(new AbortMultipartUploadCommand(upload)))
  }
}

async function tryCondition(
  { DeleteObjectCommand, PutObjectCommand }: Commands,
  client: S3Client,
  place: Place,
): Promise<boolean> {
  const put = (condition: object) => client.send(new PutObjectCommand({ ...place, Body: CONTENT, ...condition }))
  try {
    await asking(`writing to ${place.Bucket}`, () => put({}))
    return await isRefused(() => put({ IfNoneMatch: '*' }))
  } finally {
    await asking(`deleting from ${place.Bucket}`, () => client.send(new DeleteObjectCommand(place)))
  }
}

async function asking<T>(doing: string, request: () => Promise<T>): Promise<T> {
  try {
    return await request()
  } catch (cause) {
    throw s3Failed(doing, cause)
  }
}

/** An answer from 400 on. A store that can't be reached does not refuse. */
async function isRefused(request: () => Promise<unknown>): Promise<boolean> {
  try {
    await request()
    return false
  } catch (cause) {
    const status = statusOf(cause) ?? 0
    if (status >= 400 && status < 500) return true
    if (status === 501) return false
    throw s3Failed('asking the store', cause)
  }
}
