import { readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { convert, convertToStream, inspect } from '../src/index.ts'
import { convertToBytes, firstDifference, readDisk, sha256 } from './support/convert.ts'
import { contentOf, fullPattern, makePattern } from './support/pattern.ts'
import { tempFolder } from './support/temp-folder.ts'
import { decodeZvhd, decodeZvhd2, headerChecksum } from './support/zvhd-decoder.ts'

const path = tempFolder()
const fixture = (name: string) => new URL(`../fixtures/${name}`, import.meta.url).pathname

/** Written by the vendor's own driver: size and SHA-256 of the disk. */
const GOLDEN = [
  ['g1', 104859136, '35c8803a66f25730d55bbabfaee764c2cff43dd73069857fdf63eccddc9af38b'],
  ['g2', 67108864, '3b6a07d0d404fab4e23b6d34bc6696a6a312dd92821332385e5af7c01c421351'],
  ['g3', 1073741824, '5b2c3f4ed096aa54215630ecb07d3381f8dccac41b0506846b5a82bc5b1a29a5'],
] as const
const DECODERS = { zvhd: decodeZvhd, zvhd2: decodeZvhd2 } as const
const FORMATS = ['zvhd', 'zvhd2'] as const

describe.each(FORMATS)('golden files of %s', (format) => {
  it.each(GOLDEN)('%s decodes to the digest that the vendor’s driver gave', async (name, size, digest) => {
    const source = fixture(`${name}.${format}`)
    const { virtualSize } = await inspect(source)
    expect(virtualSize).toBe(size)
    for (const threads of size > 2 ** 29 ? [2] : [0, 2]) {
      const target = path(`${name}.${format}.raw`)
      await convert({ source, to: 'raw', target, threads })
      expect(sha256(await readFile(target))).toBe(digest)
    }
  })

  it.each(GOLDEN.slice(0, 2))('%s can be written again: same blocks, same frame, field by field', async (name) => {
    const source = fixture(`${name}.${format}`)
    const vendor = await readFile(source)
    const options = format === 'zvhd2' ? { compression: 'zstd' as const } : {}
    const ours = await convertToBytes({ source, to: format, options })
    const [theirs, own] = [DECODERS[format](vendor), DECODERS[format](ours)]
    expect(firstDifference(own.disk, theirs.disk)).toBeUndefined()
    expect(own.records.map(({ block }) => block)).toEqual(theirs.records.map(({ block }) => block))
    expect(frameOf(own.header)).toEqual(frameOf(theirs.header))
    expect(frameOf(ours.subarray(0, 4096))).toEqual(frameOf(vendor.subarray(0, 4096)))
  })
})

/** A header without what differs by nature: timestamp, uuid, checksum, and offsets that depend on the records' size. */
function frameOf(header: Buffer): string {
  const copy = Buffer.from(header)
  for (const [from, to] of [
    [24, 28],
    [64, 84],
    [96, 112],
  ] as const)
    copy.fill(0, from, to)
  return copy.toString('hex')
}

describe.each(FORMATS)('%s written here', (format) => {
  const decode = DECODERS[format]
  const sizes = [0, 512, 2 ** 21 - 512, 2 ** 21, 2 ** 21 + 512, 23 * 2 ** 20 + 4096 + 512]

  it.each(sizes)('a disk of %d bytes is read by an independent decoder and by ours', async (size) => {
    const disk = contentOf(makePattern(size + 1, size))
    const bytes = await convertToBytes({ source: disk, from: 'raw', to: format })
    expect(firstDifference(decode(bytes).disk, disk)).toBeUndefined()
    expect(firstDifference(await readDisk(bytes), disk)).toBeUndefined()
  })

  it('an all-zero disk has no record', async () => {
    const bytes = await convertToBytes({ source: new Uint8Array(9 * 2 ** 20), from: 'raw', to: format })
    expect(decode(bytes).records).toEqual([])
    expect(bytes.length).toBe(format === 'zvhd' ? 8192 : 16384)
  })

  it('a full disk of noise, which does not shrink, fits its records', async () => {
    const disk = contentOf(fullPattern(7, 5 * 2 ** 20 + 512))
    const bytes = await convertToBytes({ source: disk, from: 'raw', to: format })
    expect(firstDifference(decode(bytes).disk, disk)).toBeUndefined()
  })

  it('pads its records with zeros', async () => {
    const disk = contentOf(makePattern(11, 9 * 2 ** 20))
    const { records } = decode(await convertToBytes({ source: disk, from: 'raw', to: format }))
    expect(records.every(({ padding }) => padding.every((byte) => byte === 0))).toBe(true)
  })

  it('rounds the current size up to 1 GiB and keeps the exact size as the original one', async () => {
    const size = 23 * 2 ** 20 + 512
    const { header } = decode(await convertToBytes({ source: new Uint8Array(size), from: 'raw', to: format }))
    expect([header.readBigUInt64LE(40), header.readBigUInt64LE(48)]).toEqual([BigInt(size), 2n ** 30n])
  })

  it('gives the same bytes with any number of threads', async () => {
    const source = contentOf(makePattern(5, 9 * 2 ** 20))
    const all = await Promise.all(
      [0, 1, 2].map((threads) => convertToBytes({ source, from: 'raw', to: format, threads })),
    )
    expect(new Set(all.map(sha256)).size).toBe(1)
  })

  it('streams: its size is not known before, and it needs no late head', async () => {
    const { stream, size, result } = await convertToStream({
      source: new Uint8Array(2 ** 22).fill(1),
      from: 'raw',
      to: format,
    })
    expect(size).toBeUndefined()
    const chunks = await stream.toArray()
    expect((await result).bytesWritten).toBe(Buffer.concat(chunks).length)
  })
})

it('writes ZVHD2 with zlib too', async () => {
  const disk = contentOf(makePattern(3, 5 * 2 ** 20))
  const bytes = await convertToBytes({ source: disk, from: 'raw', to: 'zvhd2', options: { compression: 'zlib' } })
  expect(firstDifference(decodeZvhd2(bytes).disk, disk)).toBeUndefined()
  expect(firstDifference(await readDisk(bytes), disk)).toBeUndefined()
})

describe('damaged ZVHD', () => {
  const patched = async (name: string, patch: (bytes: Buffer) => void) => {
    const bytes = await readFile(fixture(name))
    patch(bytes)
    return bytes
  }
  const mend = (bytes: Buffer, at: number) =>
    bytes.writeUInt32LE(headerChecksum(bytes.subarray(at, at + 4096)), at + 64)

  it.each([
    ['a wrong header checksum', (b: Buffer) => b.writeUInt32LE(1, 64), 'malformed'],
    ['no trailer', (b: Buffer) => b.fill(0, b.length - 4096), 'malformed'],
    ['a record without its cookie', (b: Buffer) => b.fill(0, 4096, 4100), 'malformed'],
    ['a payload of 4 GiB', (b: Buffer) => b.writeUInt32LE(0xffffffff, 4096 + 12), 'malformed'],
    ['an empty payload', (b: Buffer) => b.writeUInt32LE(0, 4096 + 12), 'malformed'],
    ['a block past the disk’s end', (b: Buffer) => b.writeUInt32LE(51, 4096 + 16), 'malformed'],
    ['a damaged payload', (b: Buffer) => b.fill(0xff, 4096 + 50, 4096 + 90), 'corrupt-data'],
  ] as const)('%s is a typed error', async (_, patch, code) => {
    const source = await patched('g1.zvhd', patch)
    await expect(readDisk(source)).rejects.toMatchObject({ name: 'DiskferryError', code })
  })

  it.each([
    ['an index past the end', (b: Buffer, f: number) => b.writeBigUInt64LE(2n ** 40n, f + 96), 'truncated'],
    ['a count beyond the disk', (b: Buffer, f: number) => b.writeUInt32LE(52, f + 136), 'malformed'],
    ['another block size', (b: Buffer, f: number) => b.writeUInt32LE(4096, f + 88), 'malformed'],
    ['an unknown compression', (b: Buffer, f: number) => b.writeUInt8(9, f + 141), 'unsupported-feature'],
  ] as const)('ZVHD2: %s is a typed error', async (_, patch, code) => {
    const source = await patched('g1.zvhd2', (bytes) => {
      patch(bytes, bytes.length - 4096)
      mend(bytes, bytes.length - 4096)
    })
    await expect(readDisk(source)).rejects.toMatchObject({ name: 'DiskferryError', code })
  })

  it('ZVHD2: a frame that says it holds gigabytes is refused before memory is taken for it', async () => {
    const source = await patched('g1.zvhd2', (bytes) => {
      // Frame header: 8 bytes of content size, single segment.
      bytes.writeUInt8(0xe0, 4096 + 48 + 4)
      bytes.writeBigUInt64LE(2n ** 33n, 4096 + 48 + 5)
    })
    await expect(readDisk(source)).rejects.toMatchObject({ name: 'DiskferryError' })
  })
})
