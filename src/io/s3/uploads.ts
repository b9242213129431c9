import type { S3Client } from '@aws-sdk/client-s3'
import type { OpenUpload } from './leftovers.ts'
import { s3Failed } from './s3-error.ts'

export type { OpenUpload } from './leftovers.ts'

/**
 * Uploads that were begun, and neither completed nor aborted, of keys that begin with `prefix`.
 * @throws DiskferryError `target-failed`
 */
export async function listUploads(client: S3Client, bucket: string, prefix = ''): Promise<OpenUpload[]> {
  const [leftovers, { patient }] = await Promise.all([import('./leftovers.ts'), import('./attempts.ts')])
  return leftovers.listUploads(patient(client), bucket, prefix).catch((error) => {
    throw s3Failed(`listing the uploads to ${bucket}`, error)
  })
}

/**
 * Removes an unfinished upload with all its parts. One that is gone already is no error.
 * @throws DiskferryError `target-failed`
 */
export async function abortUpload(
  client: S3Client,
  bucket: string,
  upload: Pick<OpenUpload, 'key' | 'uploadId'>,
): Promise<void> {
  const [leftovers, { patient }] = await Promise.all([import('./leftovers.ts'), import('./attempts.ts')])
  await leftovers.abortUpload(patient(client), bucket, upload)
}
