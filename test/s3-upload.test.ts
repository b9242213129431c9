import { createHash } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { gzipSync } from 'node:zlib'
import { HeadBucketCommand, HeadObjectCommand, type S3Client } from '@aws-sdk/client-s3'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { crc32c, crc32cToBase64, crc32cToHex } from '../src/bytes/crc32c.ts'
import { parseS3Options } from '../src/cli/s3-options.ts'
import { type ConvertOptions, clientFromEnvironment, convert, type S3TargetOptions, s3Target } from '../src/index.ts'
import { httpProxy } from './support/http-proxy.ts'
import { contentOf, fullPattern, makePattern, noise, writePattern } from './support/pattern.ts'
import { createImage, differenceOf } from './support/qemu.ts'
import { runNode } from './support/run-node.ts'
import { clientOf, onRequest, type SeenRequest, type TestBucket, testBucket } from './support/s3-bucket.ts'
import { sample } from './support/sample.ts'
import { countingSource } from './support/sources.ts'
import { tempFolder } from './support/temp-folder.ts'

const MiB = 2 ** 20
const partSize = 5 * MiB
const path = tempFolder()

/** Swift takes no conditions (501), so it is asked once more without; and it does not answer with a checksum. */
const putInto = ({ server }: TestBucket) => {
  return server.name.startsWith('swift')
    ? ['HeadObject', 'PutObject', 'PutObject', 'HeadObject']
    : ['HeadObject', 'PutObject']
}

/** 23 MiB without a zero block, so that it takes five parts. */
const disk = noise(5, 23 * MiB + 512)

const kinds = [
  { to: 'vhd', format: 'vpc' },
  { to: 'qcow2', format: 'qcow2' },
  { to: 'raw', format: 'raw' },
  { to: 'vmdk', format: 'vmdk' }, // packed on the way: its size is known only when it has been made
] as const

/** Uploads `source` under `key`, with a client of its own. */
function upload(
  bucket: TestBucket,
  key: string,
  {
    target = {},
    ...options
  }: Partial<Omit<ConvertOptions<'raw' | 'vmdk'>, 'target'>> & { target?: Partial<S3TargetOptions> },
) {
  const place = s3Target({ client: clientOf(bucket.server), bucket: bucket.name, key, partSize, ...target })
  return convert({ source: disk, from: 'raw', to: 'raw', threads: 0, ...options, target: place })
}

/** The entity tag that S3 gives an object: the MD5 of its bytes, or that of its parts' MD5s with their number. */
function etagOf(bytes: Buffer): string {
  if (bytes.length <= partSize) return md5(bytes).toString('hex')
  const count = Math.ceil(bytes.length / partSize)
  const parts = Array.from({ length: count }, (_, i) => md5(bytes.subarray(i * partSize, (i + 1) * partSize)))
  return `${md5(Buffer.concat(parts)).toString('hex')}-${count}`
}

function md5(bytes: Buffer): Buffer {
  return createHash('md5').update(bytes).digest()
}

/** A client that keeps account of its requests. */
function listening(bucket: TestBucket): { client: S3Client; commands: string[]; requests: SeenRequest[] } {
  const requests: SeenRequest[] = []
  const commands: string[] = []
  const client = onRequest(clientOf(bucket.server), (request) => {
    requests.push(request)
    commands.push(request.command.replace('Command', ''))
  })
  return { client, commands, requests }
}

/** A client one of whose requests fails before it is sent. */
function failing(bucket: TestBucket, wanted: string, error: Error, part?: number): S3Client {
  return onRequest(clientOf(bucket.server), ({ command, input }) => {
    if (command === `${wanted}Command` && (part === undefined || input.PartNumber === part)) throw error
  })
}

async function expectNothingLeft(bucket: TestBucket, key: string): Promise<void> {
  expect(await bucket.keys()).not.toContain(key)
  expect(await bucket.openUploads()).toEqual([])
}

for (const release of ['2.35', 'stock'] as const) {
  describe(`on Swift ${release}`, () => {
    const bucket = testBucket(release)

    it.each(release === '2.35' ? kinds : sample(kinds, 2))(
      'an image lands whole as $to, in several parts',
      async ({ to, format }) => {
        const key = `whole.${to}`
        const image = path(`${release}.qcow2`)
        const pattern = fullPattern(3, 23 * MiB + 512)
        await createImage(image, 'qcow2', pattern.size)
        await writePattern(image, 'qcow2', pattern)
        const target = s3Target({ client: bucket.client, bucket: bucket.name, key, partSize })

        const result = await convert({ source: image, to, target, threads: 2 })
        await convert({ source: image, to, target: path(key), threads: 0 })

        const landed = await bucket.get(key)
        await writeFile(path(`landed.${to}`), landed)
        expect(await differenceOf([image, 'qcow2'], [path(`landed.${to}`), format])).toBeUndefined()
        expect(await differenceOf([path(key), 'raw'], [path(`landed.${to}`), 'raw'])).toBeUndefined()
        expect(result).toMatchObject({
          location: `s3://exports/${key}`,
          bytesWritten: landed.length,
          crc32c: crc32cToHex(crc32c(landed)),
          parts: Math.ceil(landed.length / partSize),
          partSize,
          etag: etagOf(landed),
        })
      },
    )

    it('a sparse disk lands whole, holes and all', async () => {
      const content = contentOf(makePattern(8, 40 * MiB + 512))
      const result = await upload(bucket, 'sparse', { source: content, threads: 2 })
      const landed = await bucket.get('sparse')
      expect(landed.equals(content)).toBe(true)
      expect(result).toMatchObject({ parts: 9, etag: etagOf(landed), crc32c: crc32cToHex(crc32c(landed)) })
    })

    it('a small object is put at once', async () => {
      const { client, commands } = listening(bucket)
      const small = noise(1, 4096)
      const result = await upload(bucket, 'small', { source: small, target: { client } })
      expect(commands).toEqual(putInto(bucket))
      expect((await bucket.get('small')).equals(small)).toBe(true)
      expect(result).toMatchObject({ parts: 1, etag: etagOf(small), crc32c: crc32cToHex(crc32c(small)) })
    })

    it('an object of exactly one part is put at once, and one byte more takes two', async () => {
      const { client, commands } = listening(bucket)
      const one = noise(2, partSize)
      expect(await upload(bucket, 'one', { source: one, target: { client } })).toMatchObject({ parts: 1 })
      expect(commands).toEqual(putInto(bucket))
      const two = noise(2, partSize + 512)
      expect(await upload(bucket, 'two', { source: two, target: { client } })).toMatchObject({ parts: 2 })
      expect((await bucket.get('one')).equals(one)).toBe(true)
      expect((await bucket.get('two')).equals(two)).toBe(true)
    })

    it('a disk of 0 bytes becomes an object of 0 bytes', async () => {
      const result = await upload(bucket, 'empty', { source: Buffer.alloc(0) })
      expect(await bucket.get('empty')).toHaveLength(0)
      expect(await bucket.keys()).toContain('empty')
      expect(result).toMatchObject({ bytesWritten: 0, crc32c: '00000000', parts: 1 })
    })

    it('what is piped in, compressed, lands as the disk that it is', async () => {
      const piped = disk.subarray(0, 11 * MiB + 512)
      const source = Readable.from([gzipSync(piped, { level: 1 })])
      const result = await upload(bucket, 'piped', { source, from: undefined, diskSize: piped.length })
      const landed = await bucket.get('piped')
      expect(landed.equals(piped)).toBe(true)
      expect(result).toMatchObject({ parts: 3, etag: etagOf(landed), crc32c: crc32cToHex(crc32c(landed)) })
    })

    it('an upload that is aborted midway rejects with the reason and leaves nothing', async () => {
      const reason = new Error('enough')
      const abort = new AbortController()
      const client = onRequest(clientOf(bucket.server), ({ input }) => {
        if (input.PartNumber === 2) abort.abort(reason)
      })
      const uploading = upload(bucket, 'aborted', { signal: abort.signal, target: { client } })
      await expect(uploading).rejects.toBe(reason)
      await expectNothingLeft(bucket, 'aborted')
    })

    it.each([
      { way: 'at once', to: 'raw', size: MiB },
      { way: 'in parts', to: 'raw', size: disk.length },
      { way: 'as a stream', to: 'vmdk', size: disk.length },
      { way: 'as a short stream', to: 'vmdk', size: MiB },
    ] as const)('a source that changed meanwhile leaves nothing, sent $way', async ({ way, to, size }) => {
      const changed = new Error('somebody wrote to it')
      const source = {
        size,
        read: (offset: number, length: number) => disk.subarray(offset, Math.min(size, offset + length)),
        assertUnchanged: () => Promise.reject(changed),
      }
      await expect(upload(bucket, way, { source, to })).rejects.toBe(changed)
      await expectNothingLeft(bucket, way)
    })

    it('a source that fails midway leaves nothing', async () => {
      const failure = new Error('the disk died')
      const source = {
        size: disk.length,
        name: 'dying',
        read: (offset: number, length: number) => read(offset, length),
      }
      const read = (offset: number, length: number) => {
        if (offset > 12 * MiB) throw failure
        return disk.subarray(offset, offset + length)
      }
      await expect(upload(bucket, 'half', { source })).rejects.toBe(failure)
      await expectNothingLeft(bucket, 'half')
    })
  })
}

const bucket = testBucket()
const proxy = httpProxy(() => bucket.server.endpoint)

describe('checksums', () => {
  it("go with every part and with the whole, and are the bytes' own", async () => {
    const { client, requests } = listening(bucket)
    await upload(bucket, 'checksums', { target: { client } })
    const [create] = requests.filter(({ command }) => command === 'CreateMultipartUploadCommand')
    expect(create?.input).toMatchObject({ ChecksumAlgorithm: 'CRC32C', ChecksumType: 'FULL_OBJECT' })
    const parts = requests.filter(({ command }) => command === 'UploadPartCommand')
    expect(parts).toHaveLength(5)
    for (const { input, http } of parts) {
      const from = ((input.PartNumber as number) - 1) * partSize
      const expected = crc32cToBase64(crc32c(disk.subarray(from, from + partSize)))
      expect(http.headers['x-amz-checksum-crc32c']).toBe(expected)
    }
    const [complete] = requests.filter(({ command }) => command === 'CompleteMultipartUploadCommand')
    expect(complete?.http.headers['x-amz-checksum-crc32c']).toBe(crc32cToBase64(crc32c(disk)))
  })

  it('are left out when the caller says that the store refuses them', async () => {
    const { client, requests } = listening(bucket)
    await upload(bucket, 'none', { target: { client, checksums: 'none' } })
    for (const { http, command } of requests.filter(({ command }) => command !== 'HeadObjectCommand')) {
      expect(
        Object.keys(http.headers).filter((name) => name.includes('checksum')),
        command,
      ).toEqual([])
    }
    expect((await bucket.get('none')).equals(disk)).toBe(true)
  })

  it.each([
    ['a part', disk, 3],
    ['an object of one part', noise(1, 4096), undefined],
  ])('catch %s that is damaged on its way', async (name, source, part) => {
    const client = onRequest(clientOf(bucket.server), ({ command, input, http }) => {
      const sends = command === 'UploadPartCommand' || command === 'PutObjectCommand'
      if (!sends || input.PartNumber !== part) return
      http.headers['x-amz-checksum-crc32c'] = 'AAAAAA=='
    })
    const uploading = upload(bucket, name, { source, target: { client } })
    await expect(uploading).rejects.toMatchObject({
      code: 'checksum-mismatch',
      found: 'BadDigest',
      hint: expect.stringContaining('try again'),
    })
    await expectNothingLeft(bucket, name)
  })

  it('catch an object that the store says is another, and remove it', async () => {
    const { client } = listening(bucket)
    client.middlewareStack.add(
      (next, { commandName }) =>
        async (args) => {
          const answer = await next(args)
          if (commandName !== 'CompleteMultipartUploadCommand') return answer
          return { ...answer, output: { ...answer.output, ChecksumCRC32C: 'AAAAAA==' } }
        },
      { step: 'initialize' },
    )
    const uploading = upload(bucket, 'another', { target: { client } })
    await expect(uploading).rejects.toMatchObject({
      code: 'checksum-mismatch',
      expected: expect.stringContaining(crc32cToBase64(crc32c(disk))),
    })
    await expectNothingLeft(bucket, 'another')
  })

  it('spare a question where the store answered with the right one', async () => {
    const { client, commands } = listening(bucket)
    client.middlewareStack.add(
      (next, { commandName }) =>
        async (args) => {
          const answer = await next(args)
          if (commandName !== 'CompleteMultipartUploadCommand') return answer
          return { ...answer, output: { ...answer.output, ChecksumCRC32C: crc32cToBase64(crc32c(disk)) } }
        },
      { step: 'initialize' },
    )
    await upload(bucket, 'answered', { target: { client, overwrite: true } })
    expect(commands).not.toContain('HeadObject')
  })
})

describe('an upload that fails', () => {
  it('stops the conversion early when a part can not be sent', async () => {
    const failure = new Error('no way')
    const source = countingSource(noise(7, 160 * MiB))
    const client = failing(bucket, 'UploadPart', failure, 3)
    const uploading = upload(bucket, 'part 3', { source, target: { client } })
    await expect(uploading).rejects.toMatchObject({ code: 'target-failed', cause: failure })
    const read = source.reads.reduce((sum, { length }) => sum + length, 0)
    expect(read).toBeLessThan(80 * MiB)
    await expectNothingLeft(bucket, 'part 3')
  })

  it.each(['CreateMultipartUpload', 'UploadPart', 'CompleteMultipartUpload'])(
    'leaves nothing when %s fails',
    async (command) => {
      const failure = new Error('no way')
      const client = failing(bucket, command, failure)
      const uploading = upload(bucket, command, { target: { client } })
      await expect(uploading).rejects.toMatchObject({ code: 'target-failed', cause: failure })
      await expectNothingLeft(bucket, command)
    },
  )

  it.each(['CreateMultipartUpload', 'UploadPart', 'CompleteMultipartUpload'])(
    'rejects with the reason, and leaves nothing, when it is aborted before %s',
    async (wanted) => {
      const reason = new Error('enough')
      const abort = new AbortController()
      const client = onRequest(clientOf(bucket.server), ({ command }) => {
        if (command !== `${wanted}Command`) return
        abort.abort(reason)
        if (wanted.startsWith('Complete')) throw new Error('aborted before it was sent')
      })
      const uploading = upload(bucket, wanted, { signal: abort.signal, target: { client } })
      await expect(uploading).rejects.toBe(reason)
      await expectNothingLeft(bucket, wanted)
    },
  )

  it('keeps the object that was there before', async () => {
    const before = Buffer.from('the one before')
    await bucket.put('kept', before)
    const client = failing(bucket, 'UploadPart', new Error('no way'), 2)
    await expect(upload(bucket, 'kept', { target: { client, overwrite: true } })).rejects.toMatchObject({
      code: 'target-failed',
    })
    expect(await bucket.get('kept')).toEqual(before)
    expect(await bucket.openUploads()).toEqual([])
  })

  it('rejects at once when it was aborted before it began', async () => {
    const reason = new Error('never mind')
    const { client, commands } = listening(bucket)
    const uploading = upload(bucket, 'never', { signal: AbortSignal.abort(reason), target: { client } })
    await expect(uploading).rejects.toBe(reason)
    expect(commands).toEqual([])
  })

  it('repeats a request that failed for the moment', async () => {
    const { client, requests } = listening(bucket)
    let failures = 0
    client.middlewareStack.add(
      (next) => async (args) => {
        const { query = {} } = args.request as { query?: Record<string, string> }
        if (query.partNumber !== '2' || failures === 2) return next(args)
        failures += 1
        throw Object.assign(new Error('the connection was reset'), { code: 'ECONNRESET', $retryable: {} })
      },
      { step: 'deserialize', priority: 'low' },
    )
    await upload(bucket, 'repeated', { target: { client } })
    expect(failures).toBe(2)
    expect(requests.filter(({ input }) => input.PartNumber === 2)).toHaveLength(1)
    expect((await bucket.get('repeated')).equals(disk)).toBe(true)
  })
})

describe('a format whose head comes last', () => {
  it('lands whole, and is the very file that it would be on a disk', async () => {
    const target = s3Target({ client: clientOf(bucket.server), bucket: bucket.name, key: 'packed.qcow2', partSize })
    const options = { source: disk, from: 'raw', to: 'qcow2', options: { compression: 'zlib' } } as const
    const result = await convert({ ...options, target, threads: 2 })
    await convert({ ...options, target: path('packed.qcow2'), threads: 0 })
    await writeFile(path('landed.qcow2'), await bucket.get('packed.qcow2'))
    expect(await differenceOf([path('packed.qcow2'), 'raw'], [path('landed.qcow2'), 'raw'])).toBeUndefined()
    await writeFile(path('disk.raw'), disk)
    expect(await differenceOf([path('disk.raw'), 'raw'], [path('landed.qcow2'), 'qcow2'])).toBeUndefined()
    expect(result).toMatchObject({ parts: 5, crc32c: crc32cToHex(crc32c(await bucket.get('packed.qcow2'))) })
  })
})

describe('an object that is there already', () => {
  it('is not replaced', async () => {
    const before = Buffer.from('the one before')
    await bucket.put('there', before)
    const { client, commands } = listening(bucket)
    await expect(upload(bucket, 'there', { target: { client } })).rejects.toMatchObject({ code: 'target-exists' })
    expect(commands).toEqual(['HeadObject'])
    expect(await bucket.get('there')).toEqual(before)
  })

  it('is replaced where that is allowed', async () => {
    await bucket.put('replaced', Buffer.from('the one before'))
    await upload(bucket, 'replaced', { target: { overwrite: true } })
    expect((await bucket.get('replaced')).equals(disk)).toBe(true)
  })

  it('is not replaced either when it appears meanwhile', async () => {
    const other = Buffer.from('the other one')
    const client = onRequest(clientOf(bucket.server), async ({ input }) => {
      if (input.PartNumber === 4) await bucket.put('meanwhile', other)
    })
    await expect(upload(bucket, 'meanwhile', { target: { client } })).rejects.toMatchObject({ code: 'target-exists' })
    expect(await bucket.get('meanwhile')).toEqual(other)
    expect(await bucket.openUploads()).toEqual([])
  })
})

describe('a store that is not as it should be', () => {
  it.each([
    ['a small object', noise(1, 512)],
    ['an object in parts', disk],
  ])('names a bucket that is missing, for %s', async (_, source) => {
    const uploading = upload(bucket, 'key', { source, target: { bucket: 'nowhere' } })
    await expect(uploading).rejects.toMatchObject({
      code: 'target-failed',
      found: 'NoSuchBucket',
      hint: expect.stringContaining('make the bucket first'),
    })
  })

  it.each([
    ['a wrong secret', { secretAccessKey: 'wrong' }, 'SignatureDoesNotMatch', 'AWS_SECRET_ACCESS_KEY'],
    ['a wrong key', { accessKeyId: 'test:nobody' }, /InvalidAccessKeyId|SignatureDoesNotMatch|AccessDenied/, ''],
  ])('names %s', async (_, wrong, found, hint) => {
    const credentials = { ...bucket.server.credentials, ...wrong }
    const client = clientOf(bucket.server, { credentials })
    await expect(upload(bucket, 'key', { target: { client } })).rejects.toMatchObject({
      code: 'target-failed',
      found: expect.stringMatching(found),
      hint: expect.stringContaining(hint),
    })
  })

  it('says when nobody listens', async () => {
    const endpoint = `http://127.0.0.1:${await unusedPort()}`
    const client = clientOf(bucket.server, { endpoint, maxAttempts: 1 })
    await expect(upload(bucket, 'key', { target: { client } })).rejects.toMatchObject({
      code: 'target-failed',
      found: 'ECONNREFUSED',
      hint: expect.stringContaining('nothing listens'),
    })
  })

  it('gives up on one that takes the connection and never answers', async () => {
    const silent = createServer(() => undefined)
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
    const endpoint = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`
    const requestHandler = { requestTimeout: 300, throwOnRequestTimeout: true }
    const client = clientOf(bucket.server, { endpoint, maxAttempts: 1, requestHandler })
    await expect(upload(bucket, 'key', { target: { client } })).rejects.toMatchObject({
      code: 'target-failed',
      found: 'TimeoutError',
      hint: expect.stringContaining('in time'),
    })
    silent.closeAllConnections()
    silent.close()
  })
})

describe("the caller's client", () => {
  it('is left as it was', async () => {
    const client = clientOf(bucket.server)
    const look = () => ({
      own: Object.keys(client).sort(),
      send: client.send,
      middleware: client.middlewareStack.identify(),
      config: Object.keys(client.config).sort(),
    })
    // The SDK itself notes down this and that at its first request.
    await client.send(new HeadBucketCommand({ Bucket: bucket.name }))
    const before = look()
    await upload(bucket, 'client', { target: { client } })
    expect(look()).toEqual(before)
  })

  it('keeps its connections, and waits for nobody to say that it may go on, though it has no agent of its own', async () => {
    proxy.reset()
    const client = clientOf(bucket.server, { endpoint: proxy.endpoint })
    const { parts } = await upload(bucket, 'connections', { target: { client, concurrency: 2 } })
    client.destroy()
    expect(parts).toBe(5)
    expect(proxy.seen.filter(({ headers }) => headers.expect !== undefined)).toEqual([])
    expect(new Set(proxy.seen.map(({ port }) => port)).size).toBeLessThanOrEqual(2)
  })

  it('still serves two uploads at once', async () => {
    const { client } = bucket
    const both = ['first', 'second'].map((key) => upload(bucket, key, { target: { client }, threads: 1 }))
    await Promise.all(both)
    for (const key of ['first', 'second']) expect((await bucket.get(key)).equals(disk)).toBe(true)
  })

  it('is told what else the object is to have', async () => {
    const parameters = { ContentType: 'application/x-vhd', Metadata: { made: 'by-test' } }
    for (const source of [noise(1, 512), disk]) {
      await upload(bucket, 'parameters', { source, target: { parameters, overwrite: true } })
      const head = await bucket.client.send(new HeadObjectCommand({ Bucket: bucket.name, Key: 'parameters' }))
      expect(head).toMatchObject(parameters)
    }
  })

  it.each([
    { way: 'at once', to: 'raw', source: noise(1, 512), command: 'PutObject' },
    { way: 'in parts', to: 'raw', source: disk, command: 'CreateMultipartUpload' },
    { way: 'as a stream', to: 'vmdk', source: disk, command: 'CreateMultipartUpload' },
    { way: 'as a short stream', to: 'vmdk', source: noise(1, 512), command: 'PutObject' },
  ] as const)('asks the store for all that the object is to have, sent $way', async ({ to, source, command }) => {
    let headers: Record<string, string> = {}
    const client = onRequest(clientOf(bucket.server), (request) => {
      if (request.command !== `${command}Command`) return
      headers = request.http.headers
      throw new Error('seen')
    })
    const given = ['content-type=application/x-vhd', 'storage-class=STANDARD_IA', 'acl=bucket-owner-full-control']
    const more = ['sse=aws:kms', 'kms-key=alias/exports', 'tag.owner=a b', 'tag.job=7', 'meta.made=by-test']
    const target = { client, overwrite: true, ...parseS3Options([...given, ...more]) }
    await expect(upload(bucket, 'wire', { source, to, target })).rejects.toMatchObject({ cause: { message: 'seen' } })
    expect(headers).toMatchObject({
      'content-type': 'application/x-vhd',
      'x-amz-storage-class': 'STANDARD_IA',
      'x-amz-acl': 'bucket-owner-full-control',
      'x-amz-server-side-encryption': 'aws:kms',
      'x-amz-server-side-encryption-aws-kms-key-id': 'alias/exports',
      'x-amz-tagging': 'owner=a+b&job=7',
      'x-amz-meta-made': 'by-test',
    })
  })

  it('gathers no listeners on the signal, however many parts there are', async () => {
    const warnings: Error[] = []
    const onWarning = (warning: Error) => warnings.push(warning)
    process.on('warning', onWarning)
    const source = noise(9, 120 * MiB)
    await upload(bucket, 'many', { source, signal: new AbortController().signal, target: { concurrency: 16 } })
    await new Promise(setImmediate)
    process.off('warning', onWarning)
    expect(warnings.filter(({ name }) => name.includes('MaxListeners'))).toEqual([])
  })
})

describe('clientFromEnvironment', () => {
  afterEach(() => void vi.unstubAllEnvs())

  it('goes where AWS_ENDPOINT_URL_S3 says, by path', async () => {
    for (const [name, value] of Object.entries(bucket.environment())) vi.stubEnv(name, value)
    const client = await clientFromEnvironment()
    expect(client.config.forcePathStyle).toBe(true)
    await upload(bucket, 'environment', { target: { client } })
    expect((await bucket.get('environment')).equals(disk)).toBe(true)
  })

  it('takes everything from the environment that it is given', async () => {
    const client = await clientFromEnvironment(bucket.environment())
    expect((await upload(bucket, 'given', { target: { client } })).location).toBe('s3://exports/given')
    const temporary = { ...bucket.environment(), AWS_SESSION_TOKEN: 'while it lasts' }
    const { credentials } = (await clientFromEnvironment(temporary)).config
    expect(await credentials()).toMatchObject({ sessionToken: 'while it lasts' })
    const profile = await clientFromEnvironment({ ...temporary, AWS_PROFILE: 'nobody', AWS_REGION: 'x' })
    await expect(profile.config.credentials()).rejects.toThrow('Could not load credentials')
  })

  it('gives up a request that takes too long', async () => {
    const client = await clientFromEnvironment({ AWS_REGION: 'eu-north-1' })
    const { requestTimeout, throwOnRequestTimeout, socketTimeout } = await handlerOptions(client)
    expect({ requestTimeout, throwOnRequestTimeout, socketTimeout }).toEqual({
      requestTimeout: 300_000,
      throwOnRequestTimeout: true,
      socketTimeout: 60_000,
    })
  })

  it('is an ordinary client of AWS where no endpoint is named', async () => {
    const client = await clientFromEnvironment({ AWS_REGION: 'eu-north-1' })
    expect(client.config.forcePathStyle).toBe(false)
    expect(await client.config.region()).toBe('eu-north-1')
  })

  it('refuses an endpoint that is no URL', async () => {
    const refusal = { code: 'usage', found: '//no url' }
    await expect(clientFromEnvironment({ AWS_ENDPOINT_URL_S3: refusal.found })).rejects.toMatchObject(refusal)
  })
})

describe('memory', () => {
  it('stays under 256 MiB for a disk of 320 MiB', async () => {
    const source = path('large.raw')
    await writeFile(source, Buffer.concat(Array.from({ length: 10 }, (_, i) => noise(i + 1, 32 * MiB))))
    const env = bucket.environment()
    const args = ['dist/cli/main.js', 'convert', source, 's3://exports/large.vhd', '--to', 'vhd', '--json', '-q']
    const { code, stdout, stderr, maxRss } = await runNode(args, { env, timeoutMs: 110_000 })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(JSON.parse(stdout.toString())).toMatchObject({ dataBytes: 320 * MiB, parts: 65 })
    expect(maxRss).toBeGreaterThan(32 * MiB)
    expect(maxRss).toBeLessThan(256 * MiB)
  })
})

async function handlerOptions(client: S3Client): Promise<Record<string, unknown>> {
  const handler = client.config.requestHandler as unknown as { configProvider: Promise<Record<string, unknown>> }
  return handler.configProvider
}

async function unusedPort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}
