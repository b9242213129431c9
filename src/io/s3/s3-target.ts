import type { PutObjectCommandInput, S3Client } from '@aws-sdk/client-s3'
import type { SinkJob, StreamSink, Target } from '../sink.ts'
import { formatS3Address } from './address.ts'
import { planParts } from './parts.ts'

/** Parameters of the object that are passed on as they are. */
export type ObjectParameters = Partial<
  Omit<PutObjectCommandInput, 'Bucket' | 'Key' | 'Body' | 'ContentLength' | 'UploadId' | `Checksum${string}`>
>

export interface S3TargetOptions {
  /** The caller's own: its credentials, region, retries and agents are used as they are. */
  client: S3Client
  bucket: string
  key: string
  /** Bytes in a part. Default: 5 MiB, more when the object needs it to fit 10,000 parts. */
  partSize?: number
  /** Parts under way at once. Default 4, fewer when parts are large. */
  concurrency?: number
  /**
   * `crc32c` sends each part's checksum, for the store to hold against what arrived; `none` for a store that refuses
   * checksum fields. Default `crc32c`.
   */
  checksums?: 'crc32c' | 'none'
  /** Content type, metadata, storage class, encryption … */
  parameters?: ObjectParameters
}

/**
 * An object in an S3-compatible store, uploaded in parts while it is made. Nothing is visible under the key until all of
 * it is there; when anything fails, the upload is aborted.
 */
export function s3Target(options: S3TargetOptions): Target {
  return {
    name: formatS3Address(options),
    async open(job: SinkJob): Promise<StreamSink> {
      const parts = planParts(job.sizeAtMost, options)
      const { openUpload } = await import('./upload-sink.ts')
      return openUpload(options, parts, job)
    },
  }
}
