import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { symlink, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import express from 'express'
import fastify from 'fastify'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  type ExportService,
  type ExportServiceOptions,
  folderCatalog,
  type JobQueue,
  nodeListener,
  openLocalQueue,
  s3Targets,
  serve,
  tokenFileAuthenticator,
} from '../src/service/index.ts'
import { noLog } from '../src/service/log.ts'
import { configSchema, readConfig } from '../src/service/program/config.ts'
import { apiServer } from './support/export-api.ts'
import { goodBody } from './support/export-cases.ts'
import { addImage } from './support/image-folder.ts'
import { someJob } from './support/job-queue-suite.ts'
import { tempFolder } from './support/temp-folder.ts'

const path = tempFolder()
const server = apiServer()
const post = { method: 'POST', body: JSON.stringify(goodBody) }
const limits = { bodyBytes: 1024, bodySeconds: 1, cancelSeconds: 0, streams: 2 }
const globals = [Request, Response]
let queue: JobQueue
let service: ExportService
let asked: string[] = []

/** A store that is never reached: nothing in here comes so far. */
const targets = s3Targets({ buckets: {} })

beforeAll(async () => {
  await writeFile(path('disk.raw'), Buffer.alloc(4096))
  await addImage(path('images'), 'mine', path('disk.raw'))
  await addImage(path('images'), 'theirs', path('disk.raw'), { owner: 'p2' })
  queue = await openLocalQueue({
    run: (_, { signal }) => once(signal, 'abort').then(() => Promise.reject(signal.reason)),
  })
  const folder = folderCatalog(path('images'))
  const catalog: ExportServiceOptions['catalog'] = {
    ...folder,
    find(id) {
      asked.push(id)
      return folder.find(id)
    },
  }
  service = server.use({ catalog, targets, queue, limits })
})
afterAll(() => queue?.close())

async function answerOf(url: string, init: Parameters<typeof server.request>[1] = {}) {
  const answer = await server.request(url, init)
  const headers = [...answer.headers].filter(([name]) => name !== 'date').sort()
  return { status: answer.status, headers, text: await answer.text() }
}

describe('another project’s', () => {
  it('image is answered to the byte like one that there is not', async () => {
    const none = await answerOf('/v1/cloudimages/nosuch/file', post)
    expect(none).toMatchObject({ status: 404, text: expect.stringContaining('IMG.0027') })
    expect(await answerOf('/v1/cloudimages/theirs/file', post)).toEqual(none)
    const dry = await answerOf('/v1/cloudimages/nosuch/file?dry_run=true', post)
    expect(await answerOf('/v1/cloudimages/theirs/file?dry_run=true', post)).toEqual(dry)
    const body = { ...post, body: '{' }
    expect((await answerOf('/v1/cloudimages/theirs/file', body)).text).toBe(none.text)
  })

  it('image is not in the list', async () => {
    const images = JSON.parse((await answerOf('/v1/cloudimages')).text).images as { id: string }[]
    expect(images.map(({ id }) => id)).toEqual(['mine'])
  })

  it('job is answered like one that there is not, and can’t be cancelled', async () => {
    const job = someJob({ project: 'p2' })
    await queue.submit(job)
    const none = '0'.repeat(32)
    for (const [method, suffix] of [
      ['GET', ''],
      ['GET', '?details=true'],
      ['DELETE', ''],
      ['GET', '/events'],
    ] as const) {
      const answer = await answerOf(`/v1/cloudimages/job/${job.id}${suffix}`, { method })
      expect(answer).toEqual(await answerOf(`/v1/cloudimages/job/${none}${suffix}`, { method }))
      expect(answer.status).toBe(404)
    }
    for (const method of ['GET', 'DELETE'] as const) {
      expect((await answerOf(`/v1/p1/jobs/${job.id}`, { method })).status).toBe(404)
      const other = await answerOf(`/v1/p2/jobs/${job.id}`, { method })
      expect(other).toEqual(await answerOf(`/v1/p2/jobs/${none}`, { method }))
      expect(other.status).toBe(403)
    }
    expect(await queue.find(job.id)).toMatchObject({ state: 'RUNNING' })
    expect(JSON.parse((await answerOf('/v1/p1/jobs')).text)).toEqual({ jobs: [] })
    expect((await answerOf('/v1/p2/jobs')).status).toBe(403)
  })

  it('bucket looks like one that there is not', async () => {
    const answer = await answerOf('/v1/cloudimages/mine/file', post)
    expect(answer).toMatchObject({ status: 400, text: expect.stringContaining('IMG.0069') })
  })
})

describe('path tricks', () => {
  it.each([
    '..',
    '%2e%2e',
    '..%2fmine',
    '%2fetc%2fpasswd',
    'mine%00',
    'mine.json',
    'x'.repeat(65),
    'm%0aine',
    '%E0%A4',
  ])('in an image’s id (%s) reach no catalogue', async (id) => {
    asked = []
    const { status } = await answerOf(`/v1/cloudimages/${id}/file`, post)
    expect(status).toBe(404)
    expect(asked).toEqual([])
  })

  it('in a record: a file elsewhere, by name or by link, is not opened', async () => {
    const catalog = folderCatalog(path('images'))
    await addImage(path('images'), 'named', path('disk.raw'), { file: '../disk.raw' })
    await expect(catalog.find('named')).rejects.toMatchObject({ code: 'malformed' })
    await addImage(path('images'), 'linked', path('disk.raw'), { file: 'link.img' })
    await symlink(path('disk.raw'), path('images/link.img'))
    await expect(catalog.source('linked')).rejects.toMatchObject({ code: 'source-unreadable' })
    for (const id of ['../images/mine', 'mine/../mine', '']) expect(await catalog.find(id)).toBeUndefined()
  })

  it('in an image: a VMDK gets no neighbour’s file', async () => {
    const text =
      '# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 8 FLAT "theirs.img" 0\n'
    await writeFile(path('lure.vmdk'), text)
    await addImage(path('others'), 'theirs', path('disk.raw'))
    await addImage(path('others'), 'lure', path('lure.vmdk'))
    const { convertToStream } = await import('../src/index.ts')
    const opened = convertToStream({ ...(await folderCatalog(path('others')).source('lure')), to: 'raw', threads: 0 })
    await expect(opened).rejects.toMatchObject({ name: 'DiskferryError' })
  })
})

describe('limits', () => {
  const url = '/v1/cloudimages/mine/file'
  const large = 'x'.repeat(2000)

  it('refuse a body that says it is too large, and one that does not say it', async () => {
    for (const body of [large, new Blob([large]).stream()]) {
      const answer = await answerOf(url, { method: 'POST', body, duplex: 'half' } as RequestInit)
      expect(answer).toMatchObject({ status: 400, text: expect.stringContaining('IMG.0001') })
    }
  })

  it('answer a body that does not arrive', async () => {
    const { hostname, port } = new URL(server.address)
    const socket = connect(Number(port), hostname)
    socket.write(`POST ${url} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: token-p1\r\nContent-Length: 100\r\n\r\n{"bucket`)
    const [answer] = (await once(socket, 'data')) as [Buffer]
    expect(answer.toString()).toMatch(/^HTTP\/1\.1 400 [\s\S]*IMG\.0001/)
    socket.destroy()
  })

  it('let only so many follow jobs, and others again when those have gone', async () => {
    const job = someJob()
    await queue.submit(job)
    const follow = async () => {
      const gone = new AbortController()
      const events = `/v1/cloudimages/job/${job.id}/events`
      const { status } = await server.request(events, { signal: gone.signal })
      return { status, gone }
    }
    const [first, second] = [await follow(), await follow()]
    expect([first.status, second.status]).toEqual([200, 200])
    expect((await follow()).status).toBe(503)
    first.gone.abort()
    await expect.poll(async () => (await follow()).status, { timeout: 30_000 }).toBe(200)
    second.gone.abort()
  })
})

describe('tokens in a file', () => {
  const sha256 = (token: string) => createHash('sha256').update(token).digest('hex')

  it('are known by their hash, until they expire', async () => {
    const tokens = [
      { sha256: sha256('one'), project: 'p1', roles: ['te_admin'] },
      { sha256: sha256('two'), project: 'p2', expires: '2020-01-01T00:00:00Z' },
      { sha256: sha256('three'), project: 'p3', expires: '2999-01-01T00:00:00Z' },
    ]
    await writeFile(path('tokens.json'), JSON.stringify(tokens))
    const { authenticate } = await tokenFileAuthenticator(path('tokens.json'))
    expect(await authenticate('one')).toEqual({ project: 'p1', roles: ['te_admin'] })
    expect(await authenticate('two')).toBeUndefined()
    expect(await authenticate('three')).toEqual({ project: 'p3', roles: [] })
    expect(await authenticate(sha256('one'))).toBeUndefined()
    expect(await authenticate('')).toBeUndefined()
  })

  it('are refused as a whole where one is wrong', async () => {
    await writeFile(path('wrong.json'), JSON.stringify([{ token: 'plain', project: 'p1' }]))
    await expect(tokenFileAuthenticator(path('wrong.json'))).rejects.toMatchObject({ code: 'usage' })
    await expect(tokenFileAuthenticator(path('absent.json'))).rejects.toMatchObject({ code: 'usage' })
  })
})

describe('mounted in another server', () => {
  async function expectApi(address: string): Promise<void> {
    const headers = { 'X-Auth-Token': 'token-p1', 'Content-Type': 'application/json' }
    const answer = await fetch(`${address}/v1/cloudimages/mine/file`, { ...post, headers })
    expect(answer.status).toBe(400)
    expect(await answer.json()).toMatchObject({ error: { code: 'IMG.0069' } })
    expect((await fetch(`${address}/v1/p1/jobs`)).status).toBe(401)
  }

  it('it answers under Express, below a path', async () => {
    const app = express()
    app.use('/export', nodeListener(service))
    const listening = app.listen(0, '127.0.0.1')
    await once(listening, 'listening')
    await expectApi(`http://127.0.0.1:${(listening.address() as { port: number }).port}/export`)
    listening.close()
  })

  it('it answers under Fastify', async () => {
    const app = fastify()
    app.removeAllContentTypeParsers()
    app.addContentTypeParser('*', (_request, _body, done) => done(null))
    const listener = nodeListener(service)
    app.all('/v1/*', (request, reply) => {
      reply.hijack()
      listener(request.raw, reply.raw)
    })
    await expectApi(await app.listen({ port: 0, host: '127.0.0.1' }))
    await app.close()
  })

  it('it leaves the globals as they are', () => {
    expect([Request, Response]).toEqual(globals)
  })
})

describe('serving', () => {
  it('hangs up on headers that are too large, or do not arrive', async () => {
    const config = configSchema.parse({
      port: 0,
      images: path('images'),
      tokens: path('tokens.json'),
      journal: path('serve.jsonl'),
      threads: 0,
      limits: { headerBytes: 2048, headerSeconds: 1 },
    })
    const running = await serve(config, noLog)
    const { hostname, port } = new URL(running.address)
    const large = await fetch(`${running.address}/health`, { headers: { 'X-Large': 'x'.repeat(4096) } })
    expect(large.status).toBe(431)
    const socket = connect(Number(port), hostname)
    socket.write('GET /health HTTP/1.1\r\nHost:')
    const [answer] = (await once(socket, 'data')) as [Buffer]
    expect(answer.toString()).toMatch(/^HTTP\/1\.1 408 /)
    socket.destroy()
    await running.stop()
  })

  it('is configured by a file, by the environment before it, and says what is wrong', async () => {
    await writeFile(path('config.json'), JSON.stringify({ port: 1234, images: 'images', graceSeconds: 5 }))
    const config = await readConfig(path('config.json'), { DISKFERRY_PORT: '4321', DISKFERRY_LOG_LEVEL: 'warn' })
    expect(config).toMatchObject({ port: 4321, images: path('images'), graceSeconds: 5, logLevel: 'warn' })
    await expect(readConfig(undefined, { DISKFERRY_PORT: 'x' })).rejects.toMatchObject({
      code: 'usage',
      message: /port/,
    })
    await writeFile(path('config.json'), JSON.stringify({ prt: 1 }))
    await expect(readConfig(path('config.json'), {})).rejects.toMatchObject({ code: 'usage', message: /prt/ })
  })
})
