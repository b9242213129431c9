import type { S3Client } from '@aws-sdk/client-s3'
import { DiskferryError } from '../../bytes/errors.ts'

/**
 * A client made from the usual AWS environment: credentials, profile, region, `AWS_ENDPOINT_URL_S3`. A store other than
 * AWS is addressed by path, since few of them answer to a host name for each bucket. A bucket of another region is followed
 * there, so one client does for buckets of one region.
 */
export async function clientFromEnvironment(environment: NodeJS.ProcessEnv = process.env): Promise<S3Client> {
  const [{ S3Client }, { Agent: HttpAgent }, { Agent: HttpsAgent }] = await Promise.all([
    import('@aws-sdk/client-s3'),
    import('node:http'),
    import('node:https'),
  ])
  const endpoint = environment.AWS_ENDPOINT_URL_S3 ?? environment.AWS_ENDPOINT_URL
  const elsewhere = endpoint !== undefined && !hostOf(endpoint).endsWith('.amazonaws.com')
  const region = environment.AWS_REGION ?? environment.AWS_DEFAULT_REGION ?? (elsewhere ? 'us-east-1' : undefined)
  const agent = { keepAlive: true, maxSockets: 64 }
  const { AWS_PROFILE: profile } = environment
  const credentials = profile === undefined ? keysOf(environment) : undefined
  const client = new S3Client({
    ...(endpoint !== undefined && { endpoint }),
    ...(region !== undefined && { region }),
    ...(profile !== undefined && { profile }),
    ...(credentials !== undefined && { credentials }),
    forcePathStyle: elsewhere,
    followRegionRedirects: true,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: {
      httpAgent: new HttpAgent(agent),
      httpsAgent: new HttpsAgent(agent),
      connectionTimeout: 10_000,
      requestTimeout: 300_000,
      throwOnRequestTimeout: true,
      socketTimeout: 60_000,
    },
  })
  rememberRegion(client)
  return client
}

/** Keys that lie in the environment; without them, the SDK looks wherever else it knows. */
function keysOf(environment: NodeJS.ProcessEnv) {
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey, AWS_SESSION_TOKEN } = environment
  if (!accessKeyId || !secretAccessKey) return undefined
  return { accessKeyId, secretAccessKey, ...(AWS_SESSION_TOKEN && { sessionToken: AWS_SESSION_TOKEN }) }
}

/** The SDK follows a redirect to a bucket's region anew for each request; bodies would be sent twice. */
function rememberRegion(client: S3Client): void {
  client.middlewareStack.add(
    (next) => (args) =>
      next(args).catch((error) => {
        const { $response } = error as { $response?: { statusCode?: number; headers?: Record<string, string> } }
        const region = $response?.headers?.['x-amz-bucket-region']
        if ($response?.statusCode === 301 && region) client.config.region = async () => region
        throw error
      }),
    { step: 'serialize', priority: 'high', name: 'rememberRegion' },
  )
}

function hostOf(endpoint: string): string {
  if (URL.canParse(endpoint)) return new URL(endpoint).hostname
  const expected = 'a URL such as https://s3.example.org'
  throw new DiskferryError('usage', `AWS_ENDPOINT_URL_S3 is no URL: ${endpoint}`, { found: endpoint, expected })
}
