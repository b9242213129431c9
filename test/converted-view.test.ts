import { readFile, utimes, writeFile } from 'node:fs/promises'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { serve } from '@hono/node-server'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type ConvertedView, convert, convertedView, rangeHandler, type WriterOptions } from '../src/index.ts'
import { firstDifference } from './support/convert.ts'
import { contentOf, makePattern, pick, randomOf } from './support/pattern.ts'
import { convertImage, differenceOf } from './support/qemu.ts'
import { tempFolder } from './support/temp-folder.ts'
import { runTool } from './support/tools.ts'

const MiB = 2 ** 20
const path = tempFolder()
const content = contentOf(makePattern(12, 21 * MiB + 1024))
const views: ConvertedView[] = []
let server: Server
let url: string
let whole: Buffer

async function viewOf(to: keyof WriterOptions, options = {}, source = 'packed.qcow2'): Promise<ConvertedView> {
  const view = await convertedView({ source: path(source), to, options, threads: 1 })
  views.push(view)
  return view
}

beforeAll(async () => {
  await writeFile(path('disk.raw'), content)
  await convertImage([path('disk.raw'), 'raw'], [path('packed.qcow2'), 'qcow2'], { compress: true })
  await convertImage([path('disk.raw'), 'raw'], [path('disk.vmdk'), 'vmdk'])
  await convert({ source: path('packed.qcow2'), to: 'vhd', target: path('whole.vhd'), threads: 1 })
  whole = await readFile(path('whole.vhd'))
  server = serve({ fetch: rangeHandler(await viewOf('vhd')), port: 0, hostname: '127.0.0.1' }) as Server
  await new Promise((resolve) => server.once('listening', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/disk.vhd`
})
afterAll(async () => {
  server?.close()
  for (const view of views) await view.close()
})

describe('a converted view', () => {
  it.each<[keyof WriterOptions, object, string]>([
    ['vhd', {}, 'packed.qcow2'],
    ['vhd', { subformat: 'fixed' }, 'disk.vmdk'],
    ['qcow2', {}, 'disk.vmdk'],
    ['raw', {}, 'packed.qcow2'],
  ])('of %s %o from %s is what convert writes, wherever it is read', async (to, options, source) => {
    await convert({ source: path(source), to, options, target: path('written'), threads: 0 })
    const expected = await readFile(path('written'))
    const view = await viewOf(to, options, source)
    expect(view.size).toBe(expected.length)
    const random = randomOf(6)
    for (let round = 0; round < 60; round++) {
      const length = pick(random, [1, 511, 4096, 65_537, 3 * MiB])
      const at = round === 0 ? 0 : Math.floor(random() * view.size)
      const found = await view.read(at, length)
      expect(firstDifference(found, expected.subarray(at, at + length))).toBeUndefined()
    }
    expect((await view.read(view.size - 3, 10)).length).toBe(3)
  })

  it('is refused where places are known only when all has been packed', async () => {
    for (const [to, options] of [
      ['vmdk', {}],
      ['qcow2', { compression: 'zlib' }],
      ['zvhd', {}],
    ] as const) {
      await expect(convertedView({ source: path('disk.vmdk'), to, options, threads: 0 })).rejects.toMatchObject({
        code: 'target-unfit',
      })
    }
  })

  it('has another version when source or options are others', async () => {
    const versions = [
      await viewOf('vhd'),
      await viewOf('vhd', { subformat: 'fixed' }),
      await viewOf('vhd', {}, 'disk.vmdk'),
    ]
    expect(new Set(versions.map(({ version }) => version)).size).toBe(3)
    expect((await viewOf('vhd')).version).toBe(versions[0]?.version)
  })

  it('notices that its source was written to', async () => {
    await writeFile(path('changing.qcow2'), await readFile(path('packed.qcow2')))
    const view = await viewOf('vhd', {}, 'changing.qcow2')
    await utimes(path('changing.qcow2'), 1, 1)
    await expect(view.assertUnchanged()).rejects.toMatchObject({ code: 'source-changed' })
    const response = await rangeHandler(view)(new Request(url))
    await expect(response.arrayBuffer()).rejects.toMatchObject({ code: 'source-changed' })
  })
})

describe('the range handler', () => {
  const get = (headers: Record<string, string> = {}, method = 'GET') => fetch(url, { method, headers })

  it('gives the whole, and a HEAD of it', async () => {
    const response = await get()
    expect(response.status).toBe(200)
    expect(response.headers.get('content-length')).toBe(String(whole.length))
    expect(firstDifference(Buffer.from(await response.arrayBuffer()), whole)).toBeUndefined()
    const head = await get({}, 'HEAD')
    expect([head.status, head.headers.get('content-length')]).toEqual([200, String(whole.length)])
  })

  it.each([
    ['bytes=0-0', 0, 1],
    ['bytes=512-1535', 512, 1536],
    ['bytes=3000000-', 3_000_000, undefined],
    ['bytes=-512', -512, undefined],
    ['bytes=5-99999999999', 5, undefined],
  ])('gives %s', async (range, start, end) => {
    const response = await get({ range })
    const expected = whole.subarray(start, end)
    expect(response.status).toBe(206)
    expect(firstDifference(Buffer.from(await response.arrayBuffer()), expected)).toBeUndefined()
    const from = start < 0 ? whole.length + start : start
    expect(response.headers.get('content-range')).toBe(`bytes ${from}-${from + expected.length - 1}/${whole.length}`)
  })

  it.each(['bytes=99999999999-', 'bytes=-0'])('answers 416 to %s', async (range) => {
    const response = await get({ range })
    expect([response.status, response.headers.get('content-range')]).toEqual([416, `bytes */${whole.length}`])
  })

  it.each(['bytes=5-2', 'lines=1-2', 'bytes=0-1,5-6', 'bytes=-', 'nonsense'])(
    'takes %s for no range',
    async (range) => {
      const response = await get({ range }, 'GET')
      expect(response.status).toBe(200)
      await response.body?.cancel()
    },
  )

  it('heeds If-None-Match and If-Range', async () => {
    const etag = (await get({}, 'HEAD')).headers.get('etag') as string
    expect(etag).toMatch(/^"[0-9a-f]{64}"$/)
    expect((await get({ 'if-none-match': `"other", ${etag}` })).status).toBe(304)
    const same = await get({ range: 'bytes=0-3', 'if-range': etag })
    const other = await get({ range: 'bytes=0-3', 'if-range': '"other"' })
    expect([same.status, other.status]).toEqual([206, 200])
    await other.body?.cancel()
  })

  it('takes nothing but GET and HEAD', async () => {
    const response = await get({}, 'PUT')
    expect([response.status, response.headers.get('allow')]).toEqual([405, 'GET, HEAD'])
  })

  it('serves curl, which goes on with a download that was broken off', async () => {
    await writeFile(path('by-curl.vhd'), whole.subarray(0, 1_234_567))
    await runTool('curl', ['-sSf', '-C', '-', '-o', path('by-curl.vhd'), url])
    expect(firstDifference(await readFile(path('by-curl.vhd')), whole)).toBeUndefined()
    expect(await differenceOf([path('by-curl.vhd'), 'vpc'], [path('disk.raw'), 'raw'])).toBeUndefined()
  })

  it('serves qemu-img by way of nbdkit, which reads it in places', async () => {
    const script = `qemu-img convert -f vpc -O raw "$uri" ${path('by-nbd.raw')}`
    await runTool('nbdkit', ['-U', '-', '-r', 'curl', `url=${url}`, 'protocols=http', '--run', script])
    const read = (await readFile(path('by-nbd.raw'))).subarray(0, content.length)
    expect(firstDifference(read, content)).toBeUndefined()
  })
})
