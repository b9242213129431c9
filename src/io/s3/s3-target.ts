import type { PutObjectCommandInput, S3Client } from '@aws-sdk/client-s3'
import type { RetryPolicy } from '../remote/retry.ts'
import type { SinkJob, StreamSink, Target } from '../sink.ts'
import { formatS3Address } from './address.ts'
import type { PayloadSigning } from './body.ts'
import { planGrowingParts, planParts, type WantedParts } from './parts.ts'
import { s3Source } from './s3-source.ts'

/** Parameters of the object that are passed on as they are. */
export type ObjectParameters = Partial<
  Omit<PutObjectCommandInput, 'Bucket' | 'Key' | 'Body' | 'ContentLength' | 'UploadId' | `Checksum${string}`>
>

export interface S3TargetOptions extends WantedParts {
  /** The caller's own: its credentials, region, retries and agents are used as they are. */
  client: S3Client
  bucket: string
  key: string
  /**
   * `crc32c` sends each part's checksum, for the store to hold against what arrived; `none` for a store that refuses
   * checksum fields. Default `crc32c`.
   */
  checksums?: 'crc32c' | 'none' | undefined
  /**
   * What the signature of a request says of its body. Default `unsigned` with checksums, which are signed themselves;
   * otherwise, or for a store that wants it, `sha256`.
   */
  payload?: PayloadSigning | undefined
  /** Replaces an object that is there. Default false: then it is an error (`target-exists`). */
  overwrite?: boolean | undefined
  /**
   * Goes on with an unfinished upload of this key: parts that are there, and equal, are not sent again. When this one
   * fails, what has arrived is kept for the next. Default false: then a failure leaves nothing.
   */
  resume?: boolean | undefined
  /** How often requests are repeated, and how long they may take. */
  retry?: Partial<RetryPolicy> | undefined
  /** Content type, metadata, tags, storage class, ACL, encryption … */
  parameters?: ObjectParameters
}

/**
 * An object in an S3-compatible store, uploaded in parts while it is made. Nothing is visible under the key until all of
 * it is there; when anything fails, the upload is aborted, or with `resume` kept.
 */
export function s3Target(options: S3TargetOptions): Target {
  return {
    name: formatS3Address(options),
    async open(job: SinkJob): Promise<StreamSink> {
      const plan = job.size === undefined ? planGrowingParts(job.sizeAtMost, options) : planParts(job.size, options)
      const isAppended = job.size === undefined && !job.lateHead && !options.resume && plan.growEvery === undefined
      if (isAppended) return (await import('./upload-sink.ts')).openUpload(options, plan, job)
      return (await import('./part-sink.ts')).openParts(options, plan, job)
    },
    readBack: () => s3Source({ client: options.client, bucket: options.bucket, key: options.key }),
  }
}
