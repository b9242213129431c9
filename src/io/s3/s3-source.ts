import type { Readable } from 'node:stream'
import type { GetObjectCommandOutput, S3Client } from '@aws-sdk/client-s3'
import { openRemote, type RemoteOptions } from '../remote/remote-source.ts'
import type { RangeAnswer, RangeRequest, Transport } from '../remote/transport.ts'
import type { Source } from '../source.ts'
import { formatS3Address } from './address.ts'
import { statusOf } from './attempts.ts'

export interface S3SourceOptions extends RemoteOptions {
  /** The caller's own: its credentials, region, retries and agents are used as they are. */
  client: S3Client
  bucket: string
  key: string
  /** One version of the object. Default: the one that is current when it is opened; it must stay so. */
  versionId?: string | undefined
}

/**
 * An image in an S3-compatible store, read by ranged GETs.
 * @throws DiskferryError `source-unreadable` when it can't be read
 */
export async function s3Source(options: S3SourceOptions): Promise<Source> {
  const { GetObjectCommand } = await import('@aws-sdk/client-s3')
  const { client, bucket: Bucket, key: Key, versionId: VersionId } = options
  const transport: Transport = {
    name: formatS3Address(options),
    async get({ offset, length, ifMatch, signal }: RangeRequest) {
      const Range = `bytes=${offset}-${offset + length - 1}`
      const command = new GetObjectCommand({ Bucket, Key, VersionId, Range, IfMatch: ifMatch })
      try {
        return describe(await client.send(command, { abortSignal: signal }))
      } catch (cause) {
        return refused(cause)
      }
    },
    close: () => undefined,
  }
  return openRemote(transport, options)
}

function describe(answer: GetObjectCommandOutput): RangeAnswer {
  return {
    status: answer.$metadata.httpStatusCode ?? 200,
    contentRange: answer.ContentRange,
    contentLength: answer.ContentLength,
    etag: answer.ETag,
    lastModified: answer.LastModified?.toUTCString(),
    body: answer.Body as Readable | undefined,
  }
}

/** A store's refusal is an answer too. Where there was none, the request failed. */
function refused(cause: unknown): RangeAnswer {
  const status = statusOf(cause)
  if (status === undefined || status < 300) throw cause
  return { status, cause }
}
