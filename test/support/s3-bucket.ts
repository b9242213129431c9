import {
  CreateBucketCommand,
  GetObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  type S3ClientConfig,
} from '@aws-sdk/client-s3'
import { afterAll, beforeAll } from 'vitest'
import { type S3Server, type SwiftRelease, startSwift } from './s3-server.ts'

/** A bucket on a server of the test file's own. Its fields are there once the tests run. */
export interface TestBucket {
  readonly server: S3Server
  readonly client: S3Client
  readonly name: string
  /** The environment that leads the usual AWS tools to the server. */
  environment(): Record<string, string>
  get(key: string): Promise<Buffer>
  put(key: string, bytes: Uint8Array): Promise<void>
  /** What is left in the bucket: keys of objects, and of uploads that were begun and neither completed nor aborted. */
  keys(): Promise<string[]>
  openUploads(): Promise<string[]>
}

/** Starts Swift before the tests and stops it after them. */
export function testBucket(release: SwiftRelease = '2.35'): TestBucket {
  const name = 'exports'
  let server: S3Server
  let client: S3Client

  beforeAll(async () => {
    server = await startSwift({ release })
    client = clientOf(server)
    await client.send(new CreateBucketCommand({ Bucket: name }))
  })
  afterAll(async () => {
    client?.destroy()
    await server?.stop()
  })

  return {
    name,
    get server() {
      return server
    },
    get client() {
      return client
    },
    environment: () => ({
      AWS_ENDPOINT_URL_S3: server.endpoint,
      AWS_ACCESS_KEY_ID: server.credentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: server.credentials.secretAccessKey,
    }),
    async get(Key) {
      const { Body } = await client.send(new GetObjectCommand({ Bucket: name, Key }))
      return Buffer.from((await Body?.transformToByteArray()) ?? [])
    },
    async put(Key, Body) {
      await client.send(new PutObjectCommand({ Bucket: name, Key, Body }))
    },
    async keys() {
      const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket: name }))
      return Contents.map(({ Key = '' }) => Key)
    },
    async openUploads() {
      const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket: name }))
      return Uploads.map(({ Key = '' }) => Key)
    },
  }
}

/** A client as a service would make it. */
export function clientOf({ endpoint, region, credentials }: S3Server, more: Partial<S3ClientConfig> = {}): S3Client {
  return new S3Client({
    endpoint,
    region,
    credentials,
    forcePathStyle: true,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    ...more,
  })
}

/** What a request asks, seen on its way. */
export interface SeenRequest {
  /** `UploadPartCommand`. */
  readonly command: string
  readonly input: Readonly<Record<string, unknown>>
  /** The HTTP request, before it is signed. */
  readonly http: { headers: Record<string, string>; body?: unknown }
}

/** Calls `look` with each request of a client before it is signed and sent; what it throws, the request rejects with. */
export function onRequest(client: S3Client, look: (request: SeenRequest) => unknown): S3Client {
  client.middlewareStack.add(
    (next, { commandName = '' }) =>
      async (args) => {
        const { input, request } = args
        await look({ command: commandName, input: { ...input }, http: request as SeenRequest['http'] })
        return next(args)
      },
    { step: 'build', priority: 'low', name: 'seen' },
  )
  return client
}
