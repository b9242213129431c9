import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { CreateBucketCommand, DeleteObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { givenS3, startSwift } from '../test/support/s3-server.ts'

/** A store that the programs upload to, and the environment that leads them there. */
export interface Store {
  readonly name: string
  readonly bucket: string
  readonly env: Readonly<Record<string, string>>
  remove(key: string): Promise<void>
  stop(): Promise<void>
}

const BUCKET = 'bench'

/** OpenStack Swift: a real store, on this machine, with its data where temporary files are. */
export async function swiftStore(): Promise<Store> {
  const { name, endpoint, credentials, stop } = await startSwift()
  return makeStore(name, endpoint, credentials, stop)
}

/** A real store that is running already: the one that TEST_S3 names. */
export async function givenStore(): Promise<Store> {
  const given = givenS3()
  if (given === undefined) throw new Error('TEST_S3 names no store')
  return makeStore(given.name, given.endpoint, given.credentials, given.stop)
}

/** A store that keeps nothing; by https where it gets the files of a key and a certificate. */
export async function drainStore(...tls: string[]): Promise<Store> {
  const loader = fileURLToPath(new URL('../scripts/typescript.mjs', import.meta.url))
  const program = fileURLToPath(new URL('drain-s3.ts', import.meta.url))
  const child = spawn(process.execPath, ['--import', loader, program, ...tls], { stdio: ['pipe', 'pipe', 'inherit'] })
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string]
  const { endpoint } = JSON.parse(line) as { endpoint: string }
  const stop = async () => {
    child.stdin.end()
    await once(child, 'close')
  }
  return makeStore('a drain', endpoint, { accessKeyId: 'any', secretAccessKey: 'any' }, stop)
}

async function makeStore(
  name: string,
  endpoint: string,
  credentials: { accessKeyId: string; secretAccessKey: string },
  stop: () => Promise<void>,
): Promise<Store> {
  const region = 'us-east-1'
  const client = new S3Client({ endpoint, region, credentials, forcePathStyle: true })
  await client.send(new CreateBucketCommand({ Bucket: BUCKET }))
  return {
    name,
    bucket: BUCKET,
    env: {
      AWS_ENDPOINT_URL_S3: endpoint,
      AWS_REGION: region,
      AWS_ACCESS_KEY_ID: credentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
      AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true',
    },
    async remove(Key) {
      await client.send(new DeleteObjectCommand({ Bucket: BUCKET, Key }))
    },
    async stop() {
      client.destroy()
      await stop()
    },
  }
}
