import { setTimeout as delay } from 'node:timers/promises'
import type { S3Client } from '@aws-sdk/client-s3'
import { AbortMultipartUploadCommand, ListMultipartUploadsCommand, ListPartsCommand } from '@aws-sdk/client-s3'
import { formatS3Address, type S3Address } from './address.ts'
import { nameOf, statusOf } from './attempts.ts'
import { s3Failed } from './s3-error.ts'

/*
 * Whoever looks for leftovers comes after something went wrong, so all of it is asked patiently: `patient(client)`.
 */

/** An upload that was begun, and neither completed nor aborted. */
export interface OpenUpload {
  readonly key: string
  readonly uploadId: string
  readonly initiated: Date | undefined
}

/** A part that a store has. */
export interface ListedPart {
  readonly number: number
  readonly size: number
  readonly etag: string
  /** As stores write it; undefined where the store does not tell. */
  readonly crc32c: string | undefined
}

/** Unfinished uploads of keys that begin with `prefix`. */
export async function listUploads(client: S3Client, bucket: string, prefix = ''): Promise<OpenUpload[]> {
  const found: OpenUpload[] = []
  let after: { KeyMarker?: string | undefined; UploadIdMarker?: string | undefined } = {}
  for (;;) {
    const page = await client.send(new ListMultipartUploadsCommand({ Bucket: bucket, Prefix: prefix, ...after }))
    for (const { Key = '', UploadId = '', Initiated } of page.Uploads ?? [])
      found.push({ key: Key, uploadId: UploadId, initiated: Initiated })
    if (!page.IsTruncated) return found
    after = { KeyMarker: page.NextKeyMarker, UploadIdMarker: page.NextUploadIdMarker }
  }
}

/** The parts that an upload has so far, ascending. */
export async function listParts(
  client: S3Client,
  bucket: string,
  { key, uploadId }: Pick<OpenUpload, 'key' | 'uploadId'>,
): Promise<ListedPart[]> {
  const found: ListedPart[] = []
  let marker: string | undefined
  for (;;) {
    const page = await client.send(
      new ListPartsCommand({ Bucket: bucket, Key: key, UploadId: uploadId, PartNumberMarker: marker }),
    )
    for (const { PartNumber = 0, Size = 0, ETag = '', ChecksumCRC32C } of page.Parts ?? [])
      found.push({ number: PartNumber, size: Size, etag: ETag, crc32c: ChecksumCRC32C })
    if (!page.IsTruncated) return found
    marker = page.NextPartNumberMarker
  }
}

/** Clocks of stores and their clients may differ by as much. */
const MOST_SKEW_MS = 15 * 60_000

/** Aborts what uploads to an object were begun since then and are neither complete nor aborted. */
export async function abortUploads(client: S3Client, address: S3Address, since: Date): Promise<void> {
  const { bucket, key } = address
  try {
    for (const upload of await listUploads(client, bucket, key)) {
      const begun = (upload.initiated?.getTime() ?? Number.POSITIVE_INFINITY) + MOST_SKEW_MS
      if (upload.key === key && begun >= since.getTime()) await abortUpload(client, bucket, upload)
    }
  } catch (error) {
    throw s3Failed(`looking for uploads to ${formatS3Address(address)}`, error)
  }
}

/** How often an abort is repeated while a part that was under way may still arrive after it. */
const ABORT_ATTEMPTS = 8
const ABORT_DELAY_MS = 150

/**
 * Aborts an upload, and again until the store knows nothing of it: a part that was on its way may arrive later and keep
 * it alive.
 * @throws DiskferryError `target-failed` when it can't be shown to be gone
 */
export async function abortUpload(
  client: S3Client,
  bucket: string,
  { key, uploadId }: Pick<OpenUpload, 'key' | 'uploadId'>,
): Promise<void> {
  const upload = { Bucket: bucket, Key: key, UploadId: uploadId }
  for (let attempt = 1; attempt <= ABORT_ATTEMPTS; attempt++) {
    try {
      await client.send(new AbortMultipartUploadCommand(upload))
      await client.send(new ListPartsCommand({ ...upload, MaxParts: 1 }))
    } catch (error) {
      if (nameOf(error) === 'NoSuchUpload' || statusOf(error) === 404) return
      throw s3Failed(`aborting the upload ${uploadId}`, error)
    }
    await delay(attempt * ABORT_DELAY_MS)
  }
  throw s3Failed(
    `aborting the upload ${uploadId}`,
    new Error(`it is there after ${ABORT_ATTEMPTS} requests to abort it`),
  )
}

/** Clocks of stores tell no fractions of a second. */
const CLOCK_MS = 2000

/**
 * Aborts what a lost answer left behind: empty uploads of `key`, begun no earlier than `elapsedMs` before ours, by the
 * store's own clock.
 */
export async function sweepUnheard(
  client: S3Client,
  bucket: string,
  { key, uploadId, elapsedMs }: { key: string; uploadId: string | undefined; elapsedMs: number },
): Promise<void> {
  const uploads = (await listUploads(client, bucket, key)).filter((upload) => upload.key === key)
  const own = uploads.find((upload) => upload.uploadId === uploadId)?.initiated
  const since = (own?.getTime() ?? Date.now()) - elapsedMs - CLOCK_MS
  for (const upload of uploads) {
    if (upload.uploadId === uploadId || (upload.initiated?.getTime() ?? 0) < since) continue
    if ((await listParts(client, bucket, upload)).length === 0) await abortUpload(client, bucket, upload)
  }
}
