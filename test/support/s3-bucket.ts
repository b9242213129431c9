import {
  AbortMultipartUploadCommand,
  CreateBucketCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  type ListPartsCommandOutput,
  PutObjectCommand,
  S3Client,
  type S3ClientConfig,
  type UploadPartCommandInput,
} from '@aws-sdk/client-s3'
import { afterAll, beforeAll } from 'vitest'
import { givenS3, type S3Server, type SwiftRelease, startSwift } from './s3-server.ts'

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
    const given = givenS3()
    server = given ?? (await startSwift({ release }))
    client = clientOf(server)
    await client.send(new CreateBucketCommand({ Bucket: name }))
    if (given !== undefined) await empty(client, name)
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

/** Removes what another test file left. */
async function empty(client: S3Client, Bucket: string): Promise<void> {
  const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket }))
  for (const { Key, UploadId } of Uploads) await client.send(new AbortMultipartUploadCommand({ Bucket, Key, UploadId }))
  const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket }))
  for (const { Key } of Contents) await client.send(new DeleteObjectCommand({ Bucket, Key }))
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

/** What some stores remember of parts: the checksum by upload and number. */
export type ToldChecksums = Map<string, string>

/**
 * Adds to what Swift lists of an upload's parts the checksums that it was sent and verified, and then forgot: AWS and Ceph
 * list them, so that a server that was given is taken at its own word.
 */
export function tellingChecksums(client: S3Client, told: ToldChecksums): S3Client {
  if (givenS3() !== undefined) return client
  client.middlewareStack.add(
    (next, { commandName }) =>
      async (args) => {
        const { UploadId, PartNumber, ChecksumCRC32C } = args.input as UploadPartCommandInput
        const answer = await next(args)
        if (commandName === 'UploadPartCommand') told.set(`${UploadId} ${PartNumber}`, ChecksumCRC32C ?? '')
        if (commandName !== 'ListPartsCommand') return answer
        const { Parts = [] } = answer.output as ListPartsCommandOutput
        const parts = Parts.map((part) => ({ ...part, ChecksumCRC32C: told.get(`${UploadId} ${part.PartNumber}`) }))
        return { ...answer, output: { ...answer.output, Parts: parts } }
      },
    { step: 'initialize', name: 'tellingChecksums' },
  )
  return client
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
