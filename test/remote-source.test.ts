import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type HttpSourceOptions, httpSource, type Source, s3Source } from '../src/index.ts'
import { firstDifference } from './support/convert.ts'
import { type Fault, httpProxy } from './support/http-proxy.ts'
import { noise, pick, randomOf } from './support/pattern.ts'
import { presignGet } from './support/presign.ts'
import { clientOf, testBucket } from './support/s3-bucket.ts'

const KiB = 2 ** 10
const MiB = 2 ** 20
const object = noise(77, 12 * MiB + 333)

const bucket = testBucket()
const proxy = httpProxy(() => bucket.server.endpoint)
const open: { close?(): Promise<void> }[] = []

beforeAll(() => bucket.put('image', object))
beforeEach(() => proxy.reset())
afterEach(async () => {
  proxy.upstream = () => bucket.server.endpoint
  for (const one of open.splice(0)) await one.close?.()
})

const throughProxy = (more = {}) =>
  clientOf({ ...bucket.server, endpoint: proxy.endpoint }, { maxAttempts: 1, ...more })

function presigned(key = 'image'): string {
  return presignGet(bucket.server, proxy.endpoint, bucket.name, key)
}

async function opened(source: Promise<Source>): Promise<Source> {
  const got = await source
  open.push(got)
  return got
}

const http = async (options: HttpSourceOptions = {}) => opened(httpSource(presigned(), options))
const s3 = (options = {}) => opened(s3Source({ client: throughProxy(), bucket: bucket.name, key: 'image', ...options }))
const kinds = [
  { name: 'https or http', source: http },
  { name: 's3', source: s3 },
]

async function expectBytes(source: Source, offset: number, length: number): Promise<void> {
  const expected = object.subarray(offset, offset + length)
  expect(firstDifference(await source.read(offset, length), expected)).toBeUndefined()
}

/** The whole object in order, a piece at a time. */
async function readAll(source: Source, step = 300 * KiB): Promise<void> {
  for (let at = 0; at < source.size; at += step) await expectBytes(source, at, Math.min(step, source.size - at))
}

describe.each(kinds)('a source by $name', ({ source: make }) => {
  it('knows size and version from its first GET, and sends nothing but GETs', async () => {
    const source = await make()
    expect(source.size).toBe(object.length)
    expect(source.version).toMatch(/^"?[0-9a-f]{32}"?$/)
    await expectBytes(source, 5 * MiB, 1000)
    expect(proxy.seen.map(({ method }) => method)).toEqual(['GET', 'GET'])
  })

  it('gives the right bytes for any run, in any order, many at once', async () => {
    const source = await make({ cacheSize: 2 * MiB })
    const random = randomOf(4)
    const somewhere = () => {
      const length = pick(random, [1, 512, 4096, 65_537, 700_000, 5 * MiB])
      return [Math.floor(random() * (object.length - length)), length] as const
    }
    for (let round = 0; round < 15; round++) {
      await Promise.all(Array.from({ length: 4 }, somewhere).map(([at, length]) => expectBytes(source, at, length)))
    }
    expect((await source.read(object.length - 5, 100)).length).toBe(5)
  })

  it('reads in order with few requests', async () => {
    await readAll(await make(), 64 * KiB)
    expect(proxy.seen.length).toBeLessThanOrEqual(6)
  })

  it('asks for the entity tag that it began with, and fails when the object is another', async () => {
    const source = await make()
    await expectBytes(source, 3 * MiB, 10)
    expect(proxy.seen.at(-1)?.headers['if-match']).toBe(source.version)
    await source.assertUnchanged?.()
    await bucket.put('image', noise(78, object.length))
    try {
      await expect(source.read(9 * MiB, 10)).rejects.toMatchObject({ code: 'source-changed' })
      await expect(source.assertUnchanged?.()).rejects.toMatchObject({ code: 'source-changed' })
    } finally {
      await bucket.put('image', object)
    }
  })

  it.each<[string, Fault]>([
    ['a reset', { kind: 'reset' }],
    ['status 500', { kind: 'status', status: 500 }],
    ['status 429 that says when to come back', { kind: 'status', status: 429, headers: { 'retry-after': '0' } }],
    ['status 503', { kind: 'status', status: 503 }],
    ['a server that answers nothing', { kind: 'stall' }],
    ['a body that stops coming', { kind: 'stall', after: 100_000 }],
    ['a connection that breaks in the middle', { kind: 'cut', after: 70_000 }],
    ['a body that is shorter than its range', { kind: 'short', after: 70_000 }],
  ])('reads on after %s', async (_name, fault) => {
    proxy.fault = (_request, index) => (index % 2 === 0 ? fault : undefined)
    await readAll(await make({ stallTimeoutMs: 300 }), MiB)
  })

  it('goes on where the last answer broke off', async () => {
    proxy.fault = (_request, index) => (index === 0 ? { kind: 'cut', after: 400_000 } : undefined)
    await make()
    const ranges = proxy.seen.map(({ headers }) => headers.range)
    expect(ranges[0]).toBe(`bytes=0-${MiB - 1}`)
    expect(Number(/bytes=(\d+)-/.exec(ranges[1] ?? '')?.[1])).toBeGreaterThanOrEqual(300_000)
    expect(ranges).toHaveLength(2)
  })

  it('gives up after a bounded number of attempts', async () => {
    const source = await make({ retries: 2 })
    proxy.reset()
    proxy.fault = () => ({ kind: 'status', status: 503 })
    const failure = expect(source.read(4 * MiB, 10)).rejects
    await failure.toMatchObject({
      code: 'source-unreadable',
      found: 503,
      message: expect.not.stringContaining('X-Amz'),
    })
    expect(proxy.seen).toHaveLength(3)
  })

  it('says so when the bytes stay short', async () => {
    const source = await make({ retries: 1 })
    proxy.fault = () => ({ kind: 'short', after: 0 })
    await expect(source.read(4 * MiB, 10)).rejects.toMatchObject({ code: 'short-read' })
  })

  it('does not try again what can not get better', async () => {
    proxy.fault = () => ({ kind: 'status', status: 403 })
    await expect(make()).rejects.toMatchObject({ code: 'source-unreadable', found: 403 })
    expect(proxy.seen).toHaveLength(1)
  })

  it('ends at once when it is aborted', async () => {
    const abort = new AbortController()
    const source = await make({ signal: abort.signal })
    proxy.fault = () => ({ kind: 'stall' })
    const read = source.read(4 * MiB, 10)
    setTimeout(() => abort.abort(new Error('enough')), 50)
    await expect(read).rejects.toThrow('enough')
  })

  it('ends what is under way when it is closed', async () => {
    const source = await make()
    proxy.fault = () => ({ kind: 'stall' })
    const read = expect(source.read(4 * MiB, 10)).rejects.toThrow('closed')
    await source.close?.()
    await read
  })

  it('is empty where the object is', async () => {
    await bucket.put('empty', Buffer.alloc(0))
    const source = await opened(
      make === http
        ? httpSource(presigned('empty'))
        : s3Source({ client: throughProxy(), bucket: bucket.name, key: 'empty' }),
    )
    expect(source.size).toBe(0)
  })
})

describe('a source by s3', () => {
  it('says what is missing, the key or the bucket', async () => {
    const client = throughProxy()
    const missing = { code: 'source-unreadable', found: 404 }
    await expect(s3Source({ client, bucket: bucket.name, key: 'none' })).rejects.toMatchObject(missing)
    await expect(s3Source({ client, bucket: 'nowhere', key: 'none' })).rejects.toMatchObject(missing)
  })

  it('says that credentials are wrong', async () => {
    const credentials = { accessKeyId: 'test:tester', secretAccessKey: 'wrong' }
    const client = clientOf(bucket.server, { credentials })
    await expect(s3Source({ client, bucket: bucket.name, key: 'image' })).rejects.toMatchObject({
      code: 'source-unreadable',
      found: 403,
    })
  })
})

describe('a source by http', () => {
  let server: Server | undefined
  afterEach(() => void server?.close())

  /** A small server of the test's own, for what real ones can't be made to say. */
  async function serve(answer: Parameters<typeof createServer>[1]): Promise<string> {
    server = createServer(answer)
    await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve))
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  }

  it('refuses a server without ranges, and says why; a small image comes whole', async () => {
    const size = { value: 3 * MiB }
    const at = await serve((_asked, answer) => {
      answer.writeHead(200, { 'content-length': size.value }).end(object.subarray(0, size.value))
    })
    await expect(httpSource(at)).rejects.toMatchObject({
      code: 'source-unreadable',
      message: expect.stringContaining('does not serve ranges'),
      hint: expect.stringContaining('download'),
    })
    size.value = 100 * KiB
    await expectBytes(await opened(httpSource(at)), 50_000, 1000)
  })

  it('follows redirects, and hands credentials to the named host alone', async () => {
    const target = presigned()
    const origin = await serve((_asked, answer) => answer.writeHead(302, { location: target }).end())
    const named = `${origin.replace('//', '//user:secret@')}/image?token=hidden`
    const source = await opened(httpSource(named, { headers: { 'x-api-key': 'hidden' } }))
    await expectBytes(source, 4 * MiB, 100)
    expect(proxy.seen).toHaveLength(2)
    for (const { headers } of proxy.seen) {
      expect(headers).not.toHaveProperty('authorization')
      expect(headers).not.toHaveProperty('x-api-key')
    }
    expect(source.name).toBe(`${origin}/image`)
  })

  it('sends what the caller gives to the host that the caller named', async () => {
    const heard: (string | undefined)[] = []
    const at = await serve((asked, answer) => {
      heard.push(asked.headers.authorization, String(asked.headers['x-api-key']))
      answer.writeHead(200, { 'content-length': 3 }).end('abc')
    })
    const source = await opened(httpSource(at.replace('//', '//user:p%40ss@'), { headers: { 'x-api-key': 'k' } }))
    expect(source.size).toBe(3)
    expect(heard).toEqual([`Basic ${Buffer.from('user:p@ss').toString('base64')}`, 'k'])
  })

  it('follows a redirect anew when the place that it led to is no longer good', async () => {
    const origin = await serve((_asked, answer) => {
      answer.writeHead(307, { location: presigned() }).end()
    })
    const source = await opened(httpSource(origin))
    proxy.reset()
    proxy.fault = (_request, index) => (index === 0 ? { kind: 'status', status: 403 } : undefined)
    await expectBytes(source, 4 * MiB, 100)
    expect(proxy.seen).toHaveLength(2)
  })

  it.each([
    ['to itself, for ever', (origin: string) => origin],
    ['to a file', () => 'file:///etc/passwd'],
    ['to another scheme', () => 'ftp://127.0.0.1/image'],
  ])('does not follow a redirect %s', async (_name, where) => {
    let asked = 0
    const origin: string = await serve((_asked, answer) => {
      asked += 1
      answer.writeHead(301, { location: where(origin) }).end()
    })
    await expect(httpSource(origin)).rejects.toMatchObject({ code: 'source-unreadable' })
    expect(asked).toBeLessThanOrEqual(6)
  })

  it('asks no host that the caller forbids', async () => {
    const target = presigned()
    const origin = await serve((_asked, answer) => answer.writeHead(302, { location: target }).end())
    const allowUrl = (url: URL) => url.origin === origin
    await expect(httpSource(origin, { allowUrl })).rejects.toMatchObject({ code: 'source-unreadable' })
    expect(proxy.seen).toHaveLength(0)
  })

  it('refuses bytes that were not asked for', async () => {
    const ranges = ['bytes 1-1048576/2000000', 'bytes 0-1048575/*', 'nonsense']
    for (const range of ranges) {
      const at = await serve((_asked, answer) => answer.writeHead(206, { 'content-range': range }).end('x'))
      await expect(httpSource(at)).rejects.toMatchObject({ code: 'source-unreadable', found: range })
      server?.close()
    }
  })

  it('names neither a signature nor a password', async () => {
    const url = presigned('none').replace('//', '//user:secret@')
    const error = await httpSource(url).catch((failure: Error) => failure)
    expect(JSON.stringify(error) + String(error)).not.toMatch(/secret|Signature/)
    expect(String(error)).toContain('/exports/none')
  })

  it('keeps to the tag by itself where the server takes no notice of If-Match', async () => {
    const tag = { value: '"one"' }
    const at = await serve((asked, answer) => {
      const [, from = '0', to = '0'] = /bytes=(\d+)-(\d+)/.exec(asked.headers.range ?? '') ?? []
      const end = Math.min(Number(to), object.length - 1)
      const range = `bytes ${from}-${end}/${object.length}`
      answer.writeHead(206, { 'content-range': range, etag: tag.value }).end(object.subarray(Number(from), end + 1))
    })
    const source = await opened(httpSource(at))
    tag.value = '"two"'
    await expect(source.read(5 * MiB, 10)).rejects.toMatchObject({ code: 'source-changed', found: '"two"' })
  })
})
