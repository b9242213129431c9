import { DiskferryError } from '../../bytes/errors.ts'

export interface S3Address {
  readonly bucket: string
  readonly key: string
}

const SCHEME = 's3://'

export function isS3Address(text: string): boolean {
  return text.startsWith(SCHEME)
}

/** The export API's form: a bucket's name, a colon, a key. Nothing else is told from a path by it. */
const SHORT = /^([a-z0-9][a-z0-9.-]{1,61}[a-z0-9]):([^/].*)$/s

/** Whether a text has the short form: a path may have it too. */
export function isShortS3Address(text: string): boolean {
  return SHORT.test(text) && !isS3Address(text)
}

/**
 * Reads `s3://bucket/key`, or `bucket:key`.
 * @throws DiskferryError `usage` when bucket or key is missing
 */
export function parseS3Address(text: string): S3Address {
  const [, shortBucket, shortKey] = SHORT.exec(text) ?? []
  if (shortBucket !== undefined && shortKey !== undefined && !isS3Address(text)) {
    return { bucket: shortBucket, key: shortKey }
  }
  const slash = text.indexOf('/', SCHEME.length)
  const bucket = text.slice(SCHEME.length, slash)
  const key = text.slice(slash + 1)
  if (isS3Address(text) && slash > SCHEME.length && key !== '') return { bucket, key }
  throw new DiskferryError('usage', `${text} is no address of an object`, {
    found: text,
    expected: 's3://bucket/key',
  })
}

export function formatS3Address({ bucket, key }: S3Address): string {
  return `${SCHEME}${bucket}/${key}`
}
