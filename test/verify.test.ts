import { createHash } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { HeadObjectCommand } from '@aws-sdk/client-s3'
import { beforeAll, describe, expect, it } from 'vitest'
import { convert, digestImage, type Source, s3Target, type Target, verifyImages } from '../src/index.ts'
import { contentOf, makePattern, noise } from './support/pattern.ts'
import { convertImage, createImage } from './support/qemu.ts'
import { runCli } from './support/run-node.ts'
import { clientOf, testBucket } from './support/s3-bucket.ts'
import { sparseSource } from './support/sources.ts'
import { tempFolder } from './support/temp-folder.ts'

const KiB = 2 ** 10
const MiB = 2 ** 20
const path = tempFolder()
const pattern = makePattern(31, 9 * MiB + 512)
const content = contentOf(pattern)

const images = [
  ['disk.raw', 'raw', false],
  ['disk.qcow2', 'qcow2', false],
  ['packed.qcow2', 'qcow2', true],
  ['disk.vmdk', 'vmdk', false],
] as const

beforeAll(async () => {
  await writeFile(path('disk.raw'), content)
  for (const [name, format, compress] of images.slice(1)) {
    await convertImage([path('disk.raw'), 'raw'], [path(name), format], { compress })
  }
})

const sha256 = (...parts: Uint8Array[]) => createHash('sha256').update(Buffer.concat(parts)).digest()

/** The digest by its definition alone, level by level, every block hashed. */
function byDefinition(disk: Buffer): string {
  let level: Buffer[] = []
  for (let at = 0; at < disk.length || level.length === 0; at += 64 * KiB) {
    const block = Buffer.alloc(64 * KiB)
    disk.copy(block, 0, at)
    level.push(sha256(block))
  }
  for (let height = Math.ceil(Math.log2(level.length)), zero = sha256(Buffer.alloc(64 * KiB)); height > 0; height--) {
    const padded = level.length % 2 === 0 ? level : [...level, zero]
    level = []
    for (let i = 0; i < padded.length; i += 2) level.push(sha256(padded[i] as Buffer, padded[i + 1] as Buffer))
    zero = sha256(zero, zero)
  }
  const size = Buffer.alloc(8)
  size.writeBigUInt64BE(BigInt(disk.length))
  return sha256(Buffer.from('diskferry content 1\n'), size, level[0] as Buffer).toString('hex')
}

const digestOf = async (source: Source | string | Buffer, from?: 'raw', threads = 0) =>
  (await digestImage({ source, from }, { threads })).digest

describe('the digest of a disk', () => {
  it.each(images)('%s is that of its bytes as qemu-img gives them', async (name, format) => {
    await convertImage([path(name), format], [path('by-qemu'), 'raw'])
    const disk = (await readFile(path('by-qemu'))).subarray(0, content.length)
    expect(await digestOf(path(name), undefined, 2)).toBe(byDefinition(disk))
  })

  it.each([0, 1, 512, 64 * KiB, 64 * KiB + 1, 3 * 64 * KiB, MiB, MiB + 5])(
    'of %i bytes follows its definition',
    async (size) => {
      for (const disk of [noise(size, size), Buffer.alloc(size)]) {
        expect(await digestOf(disk, 'raw')).toBe(byDefinition(disk))
      }
    },
  )

  it('binds the size: zeros at the end count', async () => {
    const longer = Buffer.concat([content, Buffer.alloc(512)])
    expect(await digestOf(longer, 'raw')).not.toBe(await digestOf(content, 'raw'))
  })

  it('is another one when a byte is', async () => {
    for (const at of [0, 5 * MiB, content.length - 1]) {
      const other = Buffer.from(content)
      other[at] = (other[at] as number) ^ 1
      expect(await digestOf(other, 'raw')).not.toBe(byDefinition(content))
    }
  })

  it('of two tebibytes reads what is stored, and no hole', async () => {
    await createImage(path('huge.qcow2'), 'qcow2', 2 ** 41)
    const { digest, dataBytes } = await digestImage({ source: path('huge.qcow2') }, { threads: 0 })
    expect({ dataBytes, digest }).toEqual({ dataBytes: 0, digest: expect.stringMatching(/^[0-9a-f]{64}$/) })
  })

  it('is printed by the command line', async () => {
    const { stdout } = await runCli(['digest', path('packed.qcow2')])
    expect(String(stdout).trim()).toBe(byDefinition(content))
  })
})

describe('verify', () => {
  it.each(images)('finds %s equal to the raw disk', async (name) => {
    const found = await verifyImages({ source: path(name) }, { source: content, from: 'raw' }, { threads: 2 })
    expect(found).toEqual({ equal: true, virtualSizes: [content.length, content.length] })
  })

  it.each([0, 64 * KiB - 1, 64 * KiB, 3 * MiB + 7, content.length - 1])(
    'says that byte %i is the first to differ',
    async (at) => {
      const other = Buffer.from(content)
      other[at] = (other[at] as number) ^ 0x80
      for (const later of [at + 70_000, at + 3 * MiB])
        if (later < other.length) other[later] = (other[later] as number) ^ 1
      for (const threads of [0, 2]) {
        const found = await verifyImages({ source: path('packed.qcow2') }, { source: other, from: 'raw' }, { threads })
        expect(found).toMatchObject({ equal: false, differsAt: at, reason: 'content' })
      }
    },
  )

  it('tells a longer disk, and lets it pass where it may end in zeros', async () => {
    const first = { source: content, from: 'raw' as const }
    const zeros = { source: Buffer.concat([content, Buffer.alloc(MiB)]), from: 'raw' as const }
    const more = { source: Buffer.concat([content, Buffer.alloc(MiB), Buffer.from('x')]), from: 'raw' as const }
    const differsAt = content.length
    expect(await verifyImages(first, zeros, { threads: 0 })).toMatchObject({ equal: false, differsAt, reason: 'size' })
    expect(await verifyImages(first, more, { threads: 0 })).toMatchObject({ equal: false, differsAt, reason: 'size' })
    const allowPadding = true
    expect(await verifyImages(first, zeros, { threads: 0, allowPadding })).toMatchObject({ equal: true })
    expect(await verifyImages(more, first, { threads: 0, allowPadding })).toMatchObject({
      equal: false,
      differsAt: content.length + MiB,
      reason: 'content',
    })
  })

  it('takes a stored zero and a hole for the same', async () => {
    const first = { source: sparseSource(8 * MiB, []), from: 'raw' as const }
    await createImage(path('empty.qcow2'), 'qcow2', 8 * MiB)
    expect((await verifyImages(first, { source: path('empty.qcow2') }, { threads: 0 })).equal).toBe(true)
  })

  it('ends the command line with 0 or 6', async () => {
    const equal = await runCli(['verify', path('disk.vmdk'), path('disk.qcow2')])
    expect({ code: equal.code, said: String(equal.stdout).trim() }).toEqual({ code: 0, said: 'equal' })
    const other = Buffer.from(content)
    other[4 * MiB] = (other[4 * MiB] as number) ^ 1
    await writeFile(path('other.raw'), other)
    const different = await runCli(['verify', '--json', path('disk.vmdk'), path('other.raw'), '--to', 'raw'])
    expect(different.code).toBe(6)
    expect(JSON.parse(String(different.stdout))).toMatchObject({ equal: false, differsAt: 4 * MiB })
  })
})

describe('a conversion that is verified', () => {
  const bucket = testBucket()

  it.each(['raw', 'qcow2', 'vhd', 'vmdk', 'zvhd', 'zvhd2'] as const)('reads %s back from a file', async (to) => {
    const target = path(`verified.${to}`)
    const { verified, virtualSize } = await convert({
      source: path('packed.qcow2'),
      to,
      target,
      threads: 1,
      verify: true,
    })
    const padded = Buffer.concat([content, Buffer.alloc(virtualSize - content.length)])
    expect(verified).toEqual({ digest: byDefinition(padded), algorithm: 'diskferry content 1' })
  })

  it('reads an object back, and says so in JSON', async () => {
    const place = `s3://${bucket.name}/verified.qcow2`
    const args = ['convert', '--json', '--verify', path('disk.raw'), place, '--from', 'raw', '--to', 'qcow2']
    const { code, stdout } = await runCli(args, { env: bucket.environment() })
    expect({ code, ...JSON.parse(String(stdout)).verified }).toMatchObject({ code: 0, digest: byDefinition(content) })
  })

  it.each([
    ['put at once', 16 * MiB],
    ['sent in parts', 5 * MiB],
  ])('leaves its digest on an object that is %s, when asked for it', async (Key, partSize) => {
    const target = s3Target({ client: clientOf(bucket.server), bucket: bucket.name, key: Key, partSize })
    const { digest } = await convert({ source: path('disk.vmdk'), to: 'raw', target, digest: true, threads: 0 })
    const { Metadata } = await bucket.client.send(new HeadObjectCommand({ Bucket: bucket.name, Key }))
    expect(Metadata).toMatchObject({ 'diskferry-digest': byDefinition(content) })
    expect(digest).toBe(byDefinition(content))
  })

  it('has no digest where the source can be read but once', async () => {
    const options = { source: Readable.from([content]), from: 'raw', to: 'raw', target: path('once') } as const
    await expect(convert({ ...options, digest: true })).rejects.toMatchObject({ code: 'usage' })
  })

  it('fails when what is there is not what was sent, and says where', async () => {
    const client = clientOf(bucket.server)
    const target = s3Target({ client, bucket: bucket.name, key: 'damaged.raw' })
    const other = Buffer.from(content)
    other[2 * MiB] = (other[2 * MiB] as number) ^ 1
    const damaged: Target = {
      ...target,
      async readBack() {
        await bucket.put('damaged.raw', other)
        return (await target.readBack?.()) as Source
      },
    }
    const options = { source: content, from: 'raw', to: 'raw', target: damaged, threads: 0, verify: true } as const
    await expect(convert(options)).rejects.toMatchObject({ code: 'checksum-mismatch', offset: 2 * MiB })
  })

  it('is refused before it begins where nothing can be read back', async () => {
    const { code, stderr } = await runCli(['convert', '--verify', path('disk.vmdk'), '-', '--to', 'raw'])
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining('read back') })
  })
})
