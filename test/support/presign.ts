import { createHash, createHmac } from 'node:crypto'
import type { S3Server } from './s3-server.ts'

/**
 * A URL that allows one GET of an object and nothing else, signed as "Authenticating Requests: Using Query Parameters
 * (AWS Signature Version 4)" says. The method is signed: a HEAD with it is refused.
 */
export function presignGet(server: S3Server, endpoint: string, bucket: string, key: string): string {
  const { accessKeyId, secretAccessKey } = server.credentials
  const now = new Date().toISOString().replace(/[-:]|\.\d+/g, '')
  const scope = [now.slice(0, 8), server.region, 's3', 'aws4_request']
  const query = new URLSearchParams({
    'X-Amz-Algorithm': 'AWS4-HMAC-SHA256',
    'X-Amz-Credential': [accessKeyId, ...scope].join('/'),
    'X-Amz-Date': now,
    'X-Amz-Expires': '600',
    'X-Amz-SignedHeaders': 'host',
  })
  const host = new URL(endpoint).host
  const request = ['GET', `/${bucket}/${key}`, String(query), `host:${host}\n`, 'host', 'UNSIGNED-PAYLOAD'].join('\n')
  const text = ['AWS4-HMAC-SHA256', now, scope.join('/'), createHash('sha256').update(request).digest('hex')].join('\n')
  const signingKey = scope.reduce<Buffer | string>((secret, part) => hmac(secret, part), `AWS4${secretAccessKey}`)
  return `${endpoint}/${bucket}/${key}?${query}&X-Amz-Signature=${hmac(signingKey, text).toString('hex')}`
}

function hmac(secret: Buffer | string, text: string): Buffer {
  return createHmac('sha256', secret).update(text).digest()
}
