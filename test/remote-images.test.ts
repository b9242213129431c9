import { copyFile, mkdir, open, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { convert, httpSource, inspect, s3Source } from '../src/index.ts'
import { firstDifference } from './support/convert.ts'
import { httpProxy } from './support/http-proxy.ts'
import { noise } from './support/pattern.ts'
import { presignGet } from './support/presign.ts'
import { convertImage, differenceOf } from './support/qemu.ts'
import { root, runCli, runNode } from './support/run-node.ts'
import { clientOf, testBucket } from './support/s3-bucket.ts'
import { tempFolder } from './support/temp-folder.ts'

const MiB = 2 ** 20
const library = fileURLToPath(new URL('../dist/index.js', import.meta.url))
const path = tempFolder()
const bucket = testBucket()
const proxy = httpProxy(() => bucket.server.endpoint)

/** 700 MiB, so that a qcow2 needs more than one L2 table; 24 MiB of it hold data, at both ends and between. */
const size = 700 * MiB
const piece = (offset: number, seed: number, length: number) => ({ offset, bytes: noise(seed, length) })
const pieces = [0, 100, 350, 600, 698].map((at, seed) => piece(at * MiB, seed + 1, (at === 698 ? 2 : 5.5) * MiB))

const images: Readonly<Record<string, () => Promise<void>>> = {
  'image.qcow2': () => convertImage([path('disk'), 'raw'], [path('image.qcow2'), 'qcow2']),
  'packed.qcow2': () => convertImage([path('disk'), 'raw'], [path('packed.qcow2'), 'qcow2'], { compress: true }),
  'dynamic.vhd': () =>
    convertImage([path('disk'), 'raw'], [path('dynamic.vhd'), 'vpc'], { options: { force_size: 'on' } }),
  'sparse.vmdk': () => convertImage([path('disk'), 'raw'], [path('sparse.vmdk'), 'vmdk']),
  'stream.vmdk': () =>
    convertImage([path('disk'), 'raw'], [path('stream.vmdk'), 'vmdk'], { options: { subformat: 'streamOptimized' } }),
  'image.vdi': () => foreign('vdi'),
  'image.vhdx': () => foreign('vhdx'),
  'image.zvhd': () => own('zvhd'),
  'image.zvhd2': () => own('zvhd2'),
  'small.zvhd': () => copyFile(join(root, 'fixtures/g1.zvhd'), path('small.zvhd')),
  'large.qcow2': async () => {
    await writeSparse(
      'large',
      6 * 1024 * MiB,
      [0, 1, 2, 3, 4, 5].map((gib) => piece(gib * 1024 * MiB, gib + 20, 4 * MiB)),
    )
    await convertImage([path('large'), 'raw'], [path('large.qcow2'), 'qcow2'])
  },
  'image.raw': () => writeFile(path('image.raw'), noise(9, 7 * MiB)),
}

const foreign = (format: 'vdi' | 'vhdx') =>
  convertImage([path('disk'), 'raw'], [path(`image.${format}`), format as 'raw'])
const own = async (to: 'zvhd' | 'zvhd2') =>
  void (await convert({ source: path('disk'), from: 'raw', to, target: path(`image.${to}`), threads: 0 }))

async function writeSparse(name: string, size: number, content: readonly ReturnType<typeof piece>[]): Promise<void> {
  const file = await open(path(name), 'w')
  await file.truncate(size)
  for (const { offset, bytes } of content) await file.write(bytes, 0, bytes.length, offset)
  await file.close()
}

beforeAll(() => writeSparse('disk', size, pieces))
beforeEach(() => proxy.reset())

/** Their tables lie in more places than four requests reach: what these say of the disk is not told unless asked for. */
const scattered = ['image.zvhd', 'large.qcow2']

describe('a remote image', () => {
  it.each(Object.keys(images))('%s is inspected with four requests at most, by either protocol', async (name) => {
    await images[name]?.()
    const bytes = await readFile(path(name))
    await bucket.put(name, bytes)
    const told = { ...(await inspect(path(name), { content: false })), name: expect.any(String) }
    const { allocation: _, bar: __, details, ...rest } = told
    const { storedBlocks: ___, ...header } = details
    const unreadable = expect.stringContaining('in many places')
    const expected = scattered.includes(name) ? { ...rest, details: header, unreadable } : told
    const client = clientOf({ ...bucket.server, endpoint: proxy.endpoint })
    const ways = [
      () => s3Source({ client, bucket: bucket.name, key: name }),
      () => httpSource(presignGet(bucket.server, proxy.endpoint, bucket.name, name)),
    ]
    for (const open of ways) {
      proxy.reset()
      const source = await open()
      expect(await inspect(source)).toEqual(expected)
      const requests = proxy.seen.length
      expect(await inspect(source, { allocation: true })).toEqual(told)
      await source.close?.()
      if (process.env.DISKFERRY_COUNTS) console.log(`${name}: ${requests} requests, ${proxy.seen.length} for all`)
      expect(requests).toBeLessThanOrEqual(4)
    }
  })

  it('is converted to the very bytes that the file is converted to', async () => {
    const [local, remote] = [path('local.vhd'), path('remote.vhd')]
    await convert({ source: path('packed.qcow2'), to: 'vhd', target: local })
    const source = await httpSource(presignGet(bucket.server, proxy.endpoint, bucket.name, 'packed.qcow2'))
    await convert({ source, to: 'vhd', target: remote, threads: 2 })
    await source.close?.()
    expect(firstDifference(await readFile(remote), await readFile(local))).toBeUndefined()
  })

  it('goes from S3 to S3 without a file', async () => {
    const cwd = path('empty')
    await mkdir(cwd)
    await writeFile(path('convert-in-s3.mjs'), CONVERT_IN_S3)
    const env = {
      ...bucket.environment(),
      BUCKET: bucket.name,
      TMPDIR: '/nonexistent',
      AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true',
    }
    const { code, stdout, stderr } = await runNode([path('convert-in-s3.mjs')], { cwd, env })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const { files, looks, cpuSeconds, bytesWritten } = JSON.parse(String(stdout))
    if (process.env.DISKFERRY_COUNTS) console.log(`S3 to S3: ${bytesWritten} bytes, ${cpuSeconds} CPU seconds`)
    expect(files).toEqual([])
    expect(looks).toBeGreaterThan(3)
    expect(await readdir(cwd)).toEqual([])
    await writeFile(path('from-s3.vhd'), await bucket.get('by-s3.vhd'))
    expect(await differenceOf([path('from-s3.vhd'), 'vpc'], [path('disk'), 'raw'])).toBeUndefined()
  })

  it('is named on the command line by its address', async () => {
    const place = `s3://${bucket.name}/image.qcow2`
    const inspected = await runCli(['inspect', '--json', place], { env: bucket.environment() })
    expect(JSON.parse(String(inspected.stdout))).toMatchObject({ name: place, format: 'qcow2', virtualSize: size })
    const url = presignGet(bucket.server, bucket.server.endpoint, bucket.name, 'image.qcow2')
    const { code } = await runCli(['convert', '-q', url, path('by-cli.raw'), '--to', 'raw'])
    expect(code).toBe(0)
    expect(await differenceOf([path('by-cli.raw'), 'raw'], [path('disk'), 'raw'])).toBeUndefined()
  })
})

describe('a bucket of another region', () => {
  it('is found where the store redirects to, once, to read and to write', async () => {
    const redirect = { kind: 'status', status: 301, headers: { 'x-amz-bucket-region': 'us-east-1' } } as const
    const isElsewhere = ({ headers }: { headers: { authorization?: string | undefined } }) =>
      !headers.authorization?.includes('/us-east-1/s3/')
    proxy.fault = (request) => (isElsewhere(request) ? redirect : undefined)
    const env = { ...bucket.environment(), AWS_ENDPOINT_URL_S3: proxy.endpoint, AWS_REGION: 'eu-west-3' }
    const disk = noise(9, 7 * MiB)
    await bucket.put('here.raw', disk)
    const [from, to] = [`s3://${bucket.name}/here.raw`, `s3://${bucket.name}/elsewhere.raw`]
    const { code, stderr } = await runCli(['convert', '-q', from, to, '--from', 'raw', '--to', 'raw'], { env })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect((await bucket.get('elsewhere.raw')).equals(disk)).toBe(true)
    expect(proxy.seen.filter(isElsewhere).length).toBeLessThanOrEqual(2)
  })
})

/** Looks, whenever there is progress, at which regular files this process has open for writing. */
const CONVERT_IN_S3 = `
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
const { clientFromEnvironment, convert, s3Source, s3Target } = await import(${JSON.stringify(library)})
const client = await clientFromEnvironment()
const bucket = process.env.BUCKET
const files = new Set()
let looks = 0
const look = () => {
  looks += 1
  for (const fd of readdirSync('/proc/self/fd')) {
    try {
      const place = readlinkSync('/proc/self/fd/' + fd)
      const flags = parseInt(/flags:\\s*(\\d+)/.exec(readFileSync('/proc/self/fdinfo/' + fd, 'utf8'))[1], 8)
      if (place.startsWith('/') && !place.startsWith('/dev/') && (flags & 3) !== 0) files.add(place)
    } catch {}
  }
}
const source = await s3Source({ client, bucket, key: 'image.qcow2' })
const target = s3Target({ client, bucket, key: 'by-s3.vhd' })
const { bytesWritten } = await convert({ source, target, to: 'vhd', onProgress: look })
await source.close()
client.destroy()
const { user, system } = process.cpuUsage()
console.log(JSON.stringify({ files: [...files], looks, bytesWritten, cpuSeconds: (user + system) / 1e6 }))
`
