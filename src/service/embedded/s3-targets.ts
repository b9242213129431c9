import type { RetryPolicy } from '../../io/remote/retry.ts'
import { patient } from '../../io/s3/attempts.ts'
import { type BucketAnswer, headBucket, headObject } from '../../io/s3/bucket.ts'
import { clientFromEnvironment } from '../../io/s3/client.ts'
import { s3Target } from '../../io/s3/s3-target.ts'
import { rememberGood } from '../remember.ts'
import type { TargetResolver } from '../seams.ts'

/** Ours: every submission asks for its bucket, and region, class and rights of a bucket seldom change. */
const BUCKET_MS = 10_000

/** Ours: somebody waits for the answer to a submission, so a store that stumbles is asked again, but not for long. */
const WHILE_SOMEBODY_WAITS: RetryPolicy = { retries: 2, requestTimeoutMs: 10_000, stallTimeoutMs: 10_000 }

export interface S3TargetsOptions {
  /** Projects that may write into a bucket. A bucket that is not named is nobody's; without this, all are everybody's. */
  readonly buckets?: Readonly<Record<string, readonly string[]>> | undefined
  /** Default: a client from the usual AWS environment. */
  readonly client?: Awaited<ReturnType<typeof clientFromEnvironment>> | undefined
  /** How patient the questions of a submission are, while somebody waits: 2 retries, 10 s each, unless said otherwise. */
  readonly retry?: Partial<RetryPolicy> | undefined
}

/** Buckets of one store, reached with credentials of the service's own. */
export function s3Targets({ buckets, client: given, retry }: S3TargetsOptions = {}): TargetResolver {
  let client: ReturnType<typeof clientFromEnvironment> | undefined
  const connect = () => {
    client ??= given === undefined ? clientFromEnvironment() : Promise.resolve(given)
    return client
  }
  const known = rememberGood<BucketAnswer>(({ accessible }) => accessible, BUCKET_MS)
  const isOpenTo = (bucket: string, project: string) =>
    buckets === undefined || (Object.hasOwn(buckets, bucket) && buckets[bucket]?.includes(project) === true)
  return {
    async resolve(bucket, project) {
      const store = await connect()
      const asked = patient(store, { ...WHILE_SOMEBODY_WAITS, ...retry })
      return {
        // A bucket that is somebody else's is not asked for: it looks like one that is not there.
        facts: async () => (isOpenTo(bucket, project) ? known(bucket, () => headBucket(asked, bucket)) : NOT_THERE),
        head: (key) => headObject(asked, bucket, key),
        async abortUploads(key, since) {
          const { abortUploads } = await import('../../io/s3/leftovers.ts')
          await abortUploads(patient(store), { bucket, key }, since)
        },
        target: (key, Metadata, { resume }) =>
          s3Target({ client: store, bucket, key, resume, parameters: { Metadata } }),
      }
    },
  }
}

const NOT_THERE = { accessible: false, region: undefined, storageClass: 'STANDARD' }
