import { readFile, writeFile } from 'node:fs/promises'
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { convert, httpStream } from '../src/index.ts'
import { noise } from './support/pattern.ts'
import { convertImage, differenceOf } from './support/qemu.ts'
import { runCli } from './support/run-node.ts'
import { tempFolder } from './support/temp-folder.ts'

const MiB = 2 ** 20
const path = tempFolder()
const disk = Buffer.concat([noise(1, 3 * MiB), Buffer.alloc(4 * MiB), noise(2, MiB)])
const objects = new Map<string, Buffer>()
let server: Server
let origin = ''
/** What is done instead of a whole answer, for as many requests. */
let faults: ((answer: ServerResponse) => void)[] = []

/** A server that knows no ranges: whatever it is asked, it gives all. */
beforeAll(async () => {
  await writeFile(path('disk'), disk)
  for (const [name, options] of [
    ['stream.vmdk', ['vmdk', { options: { subformat: 'streamOptimized' } }]],
    ['image.qcow2', ['qcow2', {}]],
  ] as const) {
    await convertImage([path('disk'), 'raw'], [path(name), options[0]], options[1])
    objects.set(name, await readFile(path(name)))
  }
  await convert({ source: path('disk'), from: 'raw', to: 'zvhd', target: path('image.zvhd'), threads: 0 })
  objects.set('image.zvhd', await readFile(path('image.zvhd')))
  objects.set('image.raw', disk)
  objects.set('image.raw.gz', gzipSync(disk, { level: 1 }))
  server = createServer(({ url = '' }, answer) => {
    const fault = faults.shift()
    if (fault !== undefined) return fault(answer)
    const bytes = objects.get(url.slice(1))
    if (bytes === undefined) answer.writeHead(404).end()
    else answer.writeHead(200, { 'content-length': bytes.length }).end(bytes)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => {
  server.closeAllConnections()
  server.close()
})
beforeEach(() => {
  faults = []
})

const toRaw = async (name: string, target: string, options = {}) =>
  convert({ source: await httpStream(`${origin}/${name}`, options), to: 'raw', target: path(target), threads: 0 })
const cut = (bytes: number) => (answer: ServerResponse) => {
  answer.writeHead(200, { 'content-length': disk.length })
  answer.write(disk.subarray(0, bytes), () => answer.destroy())
}
const busy = (answer: ServerResponse): void => void answer.writeHead(503).end()

describe('an image on a server without ranges', () => {
  it.each(['image.zvhd', 'stream.vmdk', 'image.raw', 'image.raw.gz'])('%s is converted front to back', async (name) => {
    const target = path(`${name}.out`)
    const { code, stderr } = await runCli(['convert', '-q', `${origin}/${name}`, target, '--to', 'raw'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(await differenceOf([target, 'raw'], [path('disk'), 'raw'])).toBeUndefined()
  })

  it('is refused where its format jumps about, with the reason', async () => {
    const { code, stderr } = await runCli(['convert', '-q', `${origin}/image.qcow2`, path('q.raw'), '--to', 'raw'])
    expect(code).not.toBe(0)
    expect(stderr).toMatch(/can't be read from a stream[\s\S]*its tables say where/)
  })

  it('is not inspected in part', async () => {
    const { code, stderr } = await runCli(['inspect', `${origin}/image.raw`])
    expect(code).not.toBe(0)
    expect(stderr).toMatch(/does not serve ranges/)
  })

  it('is asked for again before its first byte', async () => {
    faults = [busy, (answer) => void answer.destroy()]
    await toRaw('image.raw', 'again.raw')
    expect((await readFile(path('again.raw'))).equals(disk)).toBe(true)
  })

  it.each([
    ['a body that breaks off', 'image.raw', [cut(MiB)], 'source-unreadable'],
    ['a server in trouble', 'image.raw', [busy, busy], 'source-unreadable'],
    ['what is not there', 'none', [], 'source-unreadable'],
    [
      'a body that stops coming',
      'image.raw',
      [(answer: ServerResponse): void => void answer.writeHead(200).write('x')],
      'source-unreadable',
    ],
  ] as const)('fails for %s, and leaves nothing', async (_, name, wanted, code) => {
    faults = [...wanted]
    await expect(toRaw(name, 'failed.raw', { retries: 1, stallTimeoutMs: 300 })).rejects.toMatchObject({ code })
    await expect(readFile(path('failed.raw'))).rejects.toMatchObject({ code: 'ENOENT' })
  })

  it('stops with the reason of a signal', async () => {
    faults = [(answer) => void answer.writeHead(200).write(disk.subarray(0, MiB))]
    const abort = new AbortController()
    const reason = new Error('enough')
    const source = await httpStream(`${origin}/image.raw`, { signal: abort.signal })
    setTimeout(() => abort.abort(reason), 50)
    const converting = convert({ source, to: 'raw', target: path('stopped.raw'), threads: 0, signal: abort.signal })
    await expect(converting).rejects.toBe(reason)
  })
})
