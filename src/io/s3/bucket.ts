import type { S3Client } from '@aws-sdk/client-s3'
import { statusOf } from './attempts.ts'
import { s3Failed } from './s3-error.ts'

/** What a store says of a bucket. */
export interface BucketAnswer {
  readonly accessible: boolean
  readonly region: string | undefined
  /** `STANDARD`, also where the store does not say. */
  readonly storageClass: string
}

export interface ObjectAnswer {
  /** Bytes. */
  readonly size: number
  readonly etag: string | undefined
  readonly metadata: Readonly<Record<string, string>>
}

const STORAGE_CLASS_HEADERS = ['x-amz-storage-class', 'x-obs-storage-class']

/** Asks for a bucket. One that is not there, or not for us, is an answer; a store that can't be reached is an error. */
export async function headBucket(client: S3Client, bucket: string): Promise<BucketAnswer> {
  const { HeadBucketCommand } = await import('@aws-sdk/client-s3')
  const command = new HeadBucketCommand({ Bucket: bucket })
  let headers: Readonly<Record<string, string>> = {}
  command.middlewareStack.add(
    (next) => async (args) => {
      const answer = await next(args)
      headers = (answer.response as { headers?: Record<string, string> }).headers ?? {}
      return answer
    },
    { step: 'deserialize', name: 'headers' },
  )
  try {
    const { BucketRegion } = await client.send(command)
    const storageClass = STORAGE_CLASS_HEADERS.map((name) => headers[name]).find((value) => value !== undefined)
    return { accessible: true, region: BucketRegion, storageClass: storageClass ?? 'STANDARD' }
  } catch (error) {
    const status = statusOf(error)
    if (status === undefined || status >= 500) throw s3Failed(`asking for the bucket ${bucket}`, error)
    return { accessible: false, region: undefined, storageClass: 'STANDARD' }
  }
}

/** Asks for an object; undefined when it is not there. */
export async function headObject(client: S3Client, bucket: string, key: string): Promise<ObjectAnswer | undefined> {
  const { HeadObjectCommand } = await import('@aws-sdk/client-s3')
  try {
    const {
      ContentLength = 0,
      ETag,
      Metadata = {},
    } = await client.send(new HeadObjectCommand({ Bucket: bucket, Key: key }))
    return { size: ContentLength, etag: ETag?.replaceAll('"', ''), metadata: Metadata }
  } catch (error) {
    if (statusOf(error) === 404) return undefined
    throw s3Failed(`asking for s3://${bucket}/${key}`, error)
  }
}
