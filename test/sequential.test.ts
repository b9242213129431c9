import { execFileSync } from 'node:child_process'
import { createReadStream } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { type ConvertOptions, convert, sequentialSource, type WriterOptions } from '../src/index.ts'
import { convertToBytes, sha256 } from './support/convert.ts'
import { contentOf, makePattern, type Pattern } from './support/pattern.ts'
import { checkImage, convertImage, differenceOf, type QemuFormat } from './support/qemu.ts'
import { sample } from './support/sample.ts'
import { tempFolder } from './support/temp-folder.ts'
import { decodeZvhd, decodeZvhd2 } from './support/zvhd-decoder.ts'

const path = tempFolder()
const golden = (name: string) => new URL(`../fixtures/${name}`, import.meta.url).pathname

const GOLDEN = {
  'g1.zvhd': '35c8803a66f25730d55bbabfaee764c2cff43dd73069857fdf63eccddc9af38b',
  'g1.zvhd2': '35c8803a66f25730d55bbabfaee764c2cff43dd73069857fdf63eccddc9af38b',
  'g2.zvhd': '3b6a07d0d404fab4e23b6d34bc6696a6a312dd92821332385e5af7c01c421351',
} as const

/** A disk whose last block, grain and cluster are partial, with written zeros and long holes. */
const pattern: Pattern = makePattern(71, 9 * 2 ** 20 + 4608, 12)
const disk = contentOf(pattern)

/** Bytes as a pipe gives them: in chunks whose lengths nobody chose. */
function* chunks(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0, length = 1; at < bytes.length; at += length, length = (length * 7 + 13) % 70_001) {
    yield bytes.subarray(at, at + length)
  }
}
const stream = (bytes: Uint8Array) => Readable.from(chunks(bytes), { objectMode: true })

interface Target {
  readonly to: keyof WriterOptions
  readonly options: ConvertOptions['options']
  readonly check: (file: string) => Promise<void>
}

const byQemu = (format: QemuFormat) => async (file: string) => {
  await writeFile(path('expected.raw'), disk)
  expect(await differenceOf([path('expected.raw'), 'raw'], [file, format])).toBeUndefined()
  if (format === 'qcow2') expect(await checkImage(file)).toEqual({ errors: 0, leaks: 0, corruptions: 0 })
}

const targets: readonly Target[] = [
  { to: 'raw', options: {}, check: byQemu('raw') },
  { to: 'vhd', options: { subformat: 'fixed' }, check: byQemu('vpc') },
  { to: 'vmdk', options: {}, check: byQemu('vmdk') },
  { to: 'qcow2', options: { compression: 'zlib' }, check: byQemu('qcow2') },
  { to: 'qcow2', options: { compression: 'zlib', cluster_size: 4096 }, check: byQemu('qcow2') },
  {
    to: 'zvhd',
    options: {},
    check: async (file) => expect(sha256(decodeZvhd(await readFile(file)).disk)).toBe(sha256(disk)),
  },
  {
    to: 'zvhd2',
    options: {},
    check: async (file) => expect(sha256(decodeZvhd2(await readFile(file)).disk)).toBe(sha256(disk)),
  },
]

/** Files that can be read front to back, each made by another program or, for ZVHD, checked by an independent decoder. */
const sources: readonly { name: string; from?: 'vhd'; make: () => Promise<Uint8Array> }[] = [
  { name: 'raw', make: async () => disk },
  { name: 'raw.gz', make: async () => execFileSync('gzip', ['-c'], { input: disk, maxBuffer: 2 ** 28 }) },
  { name: 'raw.zst', make: async () => execFileSync('zstd', ['-c', '-q'], { input: disk, maxBuffer: 2 ** 28 }) },
  { name: 'zvhd of independent records', make: () => convertToBytes({ source: disk, from: 'raw', to: 'zvhd' }) },
  { name: 'zvhd2', make: () => convertToBytes({ source: disk, from: 'raw', to: 'zvhd2' }) },
  { name: 'fixed vhd by QEMU', from: 'vhd', make: vhdByQemu },
  { name: 'streamOptimized vmdk with a footer', make: () => convertToBytes({ source: disk, from: 'raw', to: 'vmdk' }) },
  { name: 'streamOptimized vmdk by QEMU, without a footer', make: vmdkByQemu },
]

async function vhdByQemu(): Promise<Buffer> {
  await writeFile(path('in.raw'), disk)
  const options = { subformat: 'fixed', force_size: 'on' }
  await convertImage([path('in.raw'), 'raw'], [path('qemu.vhd'), 'vpc'], { options })
  return readFile(path('qemu.vhd'))
}

async function vmdkByQemu(): Promise<Buffer> {
  await writeFile(path('in.raw'), disk)
  const options = { subformat: 'streamOptimized' }
  await convertImage([path('in.raw'), 'raw'], [path('qemu.vmdk'), 'vmdk'], { options })
  return readFile(path('qemu.vmdk'))
}

describe.each(sources)('a stream of $name', ({ name, from, make }) => {
  it.each(sample(targets, 3))('becomes $to $options in one pass', async ({ to, options, check }) => {
    const target = path(`${name} ${to} ${JSON.stringify(options).length}`)
    const source = stream(await make())
    const result = await convert({ source, from, to, options, target, threads: 0, diskSize: disk.length })
    expect(result.virtualSize).toBe(disk.length)
    await check(target)
  })
})

describe('a stream of ZVHD or ZVHD2 by the vendor', () => {
  it.each(Object.entries(GOLDEN))('%s gives the disk of its digest', async (name, digest) => {
    const raw = await convertToBytes({ source: createReadStream(golden(name)), to: 'raw' })
    expect(sha256(raw)).toBe(digest)
  })

  it('becomes a vmdk as its file does', async () => {
    const target = path('golden.vmdk')
    await convert({ source: createReadStream(golden('g1.zvhd')), to: 'vmdk', target, threads: 2 })
    await writeFile(path('g1.raw'), await convertToBytes({ source: golden('g1.zvhd'), to: 'raw' }))
    expect(await differenceOf([path('g1.raw'), 'raw'], [target, 'vmdk'])).toBeUndefined()
  })
})

it('a raw stream of unknown size becomes raw, and a fixed VHD', async () => {
  expect(sha256(await convertToBytes({ source: stream(disk), to: 'raw' }))).toBe(sha256(disk))
  const target = path('unknown.vhd')
  await convert({ source: stream(disk), to: 'vhd', options: { subformat: 'fixed' }, target, threads: 0 })
  await byQemu('vpc')(target)
})

it('gives the same bytes however the source is cut into chunks, and with threads', async () => {
  const options = { to: 'vmdk', diskSize: disk.length } as const
  const one = await convertToBytes({ ...options, source: Readable.from([disk]) })
  const other = await convertToBytes({ ...options, source: stream(disk), threads: 2 })
  expect(sha256(other)).toBe(sha256(one))
})

it('takes what has only chunks, and tells when it is not as long as it said', async () => {
  const source = sequentialSource(stream(disk), { size: disk.length + 1, name: 'body' })
  await expect(convertToBytes({ source, to: 'raw' })).rejects.toMatchObject({ code: 'short-read' })
})
