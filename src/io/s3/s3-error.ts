import { DiskferryError, type ErrorCode } from '../../bytes/errors.ts'

interface Meaning {
  readonly code: ErrorCode
  readonly hint: string
}

const MEANINGS: Readonly<Record<string, Meaning>> = {
  NoSuchBucket: { code: 'target-failed', hint: 'make the bucket first, or check its name and the region' },
  AccessDenied: {
    code: 'target-failed',
    hint: 'the credentials need s3:PutObject and s3:AbortMultipartUpload on this key',
  },
  InvalidAccessKeyId: { code: 'target-failed', hint: 'check AWS_ACCESS_KEY_ID, or the profile' },
  SignatureDoesNotMatch: {
    code: 'target-failed',
    hint: 'check AWS_SECRET_ACCESS_KEY, the region, and this machine’s clock',
  },
  RequestTimeTooSkewed: { code: 'target-failed', hint: 'set this machine’s clock' },
  ExpiredToken: { code: 'target-failed', hint: 'get new credentials' },
  CredentialsProviderError: {
    code: 'target-failed',
    hint: 'set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE',
  },
  ECONNREFUSED: { code: 'target-failed', hint: 'check AWS_ENDPOINT_URL_S3: nothing listens there' },
  ENOTFOUND: { code: 'target-failed', hint: 'check AWS_ENDPOINT_URL_S3 and the region: there is no such host' },
  TimeoutError: {
    code: 'target-failed',
    hint: 'the store did not answer in time: check the connection, and try again',
  },
  ETIMEDOUT: {
    code: 'target-failed',
    hint: 'the store did not answer in time: check the connection, and try again',
  },
  'Region is missing': {
    code: 'target-failed',
    hint: 'set AWS_REGION, or AWS_ENDPOINT_URL_S3 for a store other than AWS',
  },
  BadDigest: { code: 'checksum-mismatch', hint: 'the bytes were damaged on their way: try again' },
  InvalidDigest: { code: 'checksum-mismatch', hint: 'the bytes were damaged on their way: try again' },
  XAmzContentSHA256Mismatch: { code: 'checksum-mismatch', hint: 'the bytes were damaged on their way: try again' },
  XAmzContentChecksumMismatch: { code: 'checksum-mismatch', hint: 'the bytes were damaged on their way: try again' },
}

/** A failed request as diskferry's own error, with what can be done about it. */
export function s3Failed(doing: string, cause: unknown): DiskferryError {
  if (cause instanceof DiskferryError) return cause
  const { name, code, message } = (cause ?? {}) as { name?: string; code?: string; message?: string }
  const known = [name, code, message].find((word) => word !== undefined && Object.hasOwn(MEANINGS, word))
  const meaning = known === undefined ? undefined : MEANINGS[known]
  const found = known ?? name ?? 'error'
  return new DiskferryError(meaning?.code ?? 'target-failed', `${doing} failed: ${message || found}`, {
    found,
    ...(meaning !== undefined && { hint: meaning.hint }),
    cause,
  })
}
