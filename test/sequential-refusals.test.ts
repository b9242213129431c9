import { execFileSync } from 'node:child_process'
import { createReadStream } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { PassThrough, Readable } from 'node:stream'
import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { convert, inspect } from '../src/index.ts'
import { convertToBytes, sha256 } from './support/convert.ts'
import { contentOf, fullPattern } from './support/pattern.ts'
import { createImage } from './support/qemu.ts'
import { tempFolder } from './support/temp-folder.ts'
import { headerChecksum } from './support/zvhd-decoder.ts'

const path = tempFolder()
const disk = contentOf(fullPattern(5, 6 * 2 ** 20))
const BLOCK = 2 ** 21
const toRaw = (bytes: Uint8Array) => convertToBytes({ source: Readable.from([bytes]), to: 'raw' })

describe('a damaged stream', async () => {
  const zvhd = await convertToBytes({ source: disk, from: 'raw', to: 'zvhd' })
  const vmdk = await convertToBytes({ source: disk, from: 'raw', to: 'vmdk' })
  const record = 4096
  const second = record + Math.ceil((48 + zvhd.readUInt32LE(record + 12) + 4) / 4096) * 4096
  const patched = (bytes: Buffer, at: number, value: number) => {
    const copy = Buffer.from(bytes)
    copy.writeUInt32LE(value, at)
    return copy
  }
  const grain = 128 * 512
  const nextGrain = grain + Math.ceil((12 + vmdk.readUInt32LE(grain + 8)) / 512) * 512

  it.each([
    ['a ZVHD block twice', patched(zvhd, second + 16, 0), 'malformed', second + 16],
    ['a ZVHD block past the disk', patched(zvhd, record + 16, 9), 'malformed', record + 16],
    ['a ZVHD payload without size', patched(zvhd, record + 12, 0), 'malformed', record + 12],
    ['a ZVHD without its trailer', zvhd.subarray(0, -4096), 'truncated', zvhd.length - 4096],
    ['a ZVHD cut inside a record', zvhd.subarray(0, second + 100), 'truncated', second + 100],
    ['bytes behind a ZVHD', Buffer.concat([zvhd, Buffer.from('x')]), 'malformed', zvhd.length],
    ['a VMDK grain twice', patched(vmdk, nextGrain, 0), 'malformed', nextGrain],
    ['a VMDK grain past the disk', patched(vmdk, grain, 2 ** 20), 'malformed', grain],
    ['a VMDK without its end', vmdk.subarray(0, -1536), 'truncated', vmdk.length - 1536],
    ['bytes behind a VMDK', Buffer.concat([vmdk, Buffer.alloc(512)]), 'malformed', vmdk.length],
  ] as const)('%s is refused, with its place', async (_, bytes, code, offset) => {
    await expect(toRaw(bytes)).rejects.toMatchObject({ code, offset })
  })

  it('a VMDK that has lost a grain its table knows of is refused', async () => {
    const lost = Buffer.concat([vmdk.subarray(0, grain), vmdk.subarray(nextGrain)])
    await expect(toRaw(lost)).rejects.toMatchObject({ code: 'truncated', found: disk.length / 65536 - 1 })
  })

  it('a gzip file that is cut off, or damaged, is refused', async () => {
    const packed = gzipSync(disk)
    await expect(toRaw(packed.subarray(0, -100))).rejects.toMatchObject({ code: 'truncated' })
    await expect(toRaw(patched(packed, packed.length - 8, 1))).rejects.toMatchObject({ code: 'corrupt-data' })
  })

  it('a zstd file that is cut off, or has bytes behind it, is refused', async () => {
    const packed = execFileSync('zstd', ['-c', '-q'], { input: disk, maxBuffer: 2 ** 27 })
    await expect(toRaw(packed.subarray(0, -100))).rejects.toMatchObject({ code: 'truncated' })
    await expect(toRaw(Buffer.concat([packed, Buffer.alloc(20, 7)]))).rejects.toMatchObject({ code: 'malformed' })
    expect(sha256(await toRaw(Buffer.concat([packed, packed])))).toBe(sha256(Buffer.concat([disk, disk])))
  })

  it('a zstd file whose checksum is another’s is refused', async () => {
    const packed = execFileSync('zstd', ['-c', '-q'], { input: disk, maxBuffer: 2 ** 27 })
    await expect(toRaw(patched(packed, packed.length - 4, 1))).rejects.toMatchObject({ code: 'corrupt-data' })
  })

  it('a zstd file that asks for a huge window is refused before it is unpacked', async () => {
    const packed = execFileSync('zstd', ['-c', '-q', '--ultra', '--long=30'], { input: disk, maxBuffer: 2 ** 27 })
    packed.writeUInt8(packed.readUInt8(4) & ~0x20, 4)
    packed.writeUInt8(20 << 3, 5)
    await expect(toRaw(packed)).rejects.toMatchObject({ code: 'too-large' })
  })
})

describe('what needs random access', () => {
  it.each(['qcow2', 'vhdx', 'vdi'] as const)('%s is refused from a stream and inside gzip, by name', async (format) => {
    await createImage(path(format), format as 'qcow2', 2 ** 20)
    const expected = { code: 'unsupported-format', found: format, hint: expect.stringContaining('store it') }
    await expect(toRaw(await readFile(path(format)))).rejects.toMatchObject(expected)
    await writeFile(path(`${format}.gz`), gzipSync(await readFile(path(format))))
    await expect(convertToBytes({ source: path(`${format}.gz`), to: 'raw' })).rejects.toMatchObject(expected)
  })

  it('a monolithicSparse VMDK, and a fixed VHD, which looks raw until its end, are refused', async () => {
    const sparse = await convertToBytes({
      source: disk,
      from: 'raw',
      to: 'vmdk',
      options: { subformat: 'monolithicSparse' },
    })
    await expect(toRaw(sparse)).rejects.toMatchObject({ code: 'unsupported-format' })
    const vhd = await convertToBytes({ source: disk, from: 'raw', to: 'vhd', options: { subformat: 'fixed' } })
    await expect(toRaw(vhd)).rejects.toMatchObject({ code: 'unsupported-format', offset: disk.length })
  })

  it('a VHD that was said to be fixed, and has no whole footer or is dynamic, is refused', async () => {
    const make = (subformat: 'fixed' | 'dynamic') =>
      convertToBytes({ source: disk, from: 'raw', to: 'vhd', options: { subformat } })
    const read = (bytes: Uint8Array) => convertToBytes({ source: Readable.from([bytes]), from: 'vhd', to: 'raw' })
    const fixed = await make('fixed')
    await expect(read(fixed.subarray(0, -1))).rejects.toMatchObject({ code: 'malformed', offset: disk.length - 1 })
    await expect(read(fixed.subarray(512))).rejects.toMatchObject({ code: 'malformed', expected: disk.length })
    await expect(read(fixed.subarray(0, 100))).rejects.toMatchObject({ code: 'truncated' })
    await expect(read(await make('dynamic'))).rejects.toMatchObject({ code: 'unsupported-format' })
  })

  it('a ZVHD2 whose footer is missing, or knows of another number of records, is refused', async () => {
    const bytes = await convertToBytes({ source: disk, from: 'raw', to: 'zvhd2' })
    await expect(toRaw(bytes.subarray(0, -4096))).rejects.toMatchObject({ name: 'DiskferryError' })
    const other = Buffer.from(bytes)
    const footer = other.subarray(-4096)
    footer.writeUInt32LE(footer.readUInt32LE(136) + 1, 136)
    footer.writeUInt32LE(headerChecksum(footer), 64)
    await expect(toRaw(other)).rejects.toMatchObject({ code: 'malformed', offset: bytes.length - 4096 + 136 })
  })

  it.each([
    ['vhd', { subformat: 'dynamic' }],
    ['qcow2', {}],
    ['vmdk', { subformat: 'monolithicSparse' }],
  ] as const)('%s with %j is refused as a target of a stream', async (to, options) => {
    const source = Readable.from([disk])
    const refused = convertToBytes({ source, to, options, diskSize: disk.length })
    await expect(refused).rejects.toMatchObject({ code: 'target-unfit', hint: expect.any(String) })
    expect(source.destroyed).toBe(true)
  })

  it('a target that says in front how large the disk is wants to be told', async () => {
    const refused = convertToBytes({ source: Readable.from([disk]), to: 'zvhd' })
    await expect(refused).rejects.toMatchObject({ code: 'target-unfit', hint: expect.stringContaining('diskSize') })
    const wrong = convertToBytes({ source: Readable.from([disk]), to: 'raw', diskSize: BLOCK })
    await expect(wrong).rejects.toMatchObject({ code: 'short-read', expected: BLOCK })
  })
})

describe('a compressed file', () => {
  it('is read by its path where what is in it can be', async () => {
    await writeFile(path('disk.raw.gz'), gzipSync(disk, { level: 1 }))
    const result = await convert({ source: path('disk.raw.gz'), to: 'raw', target: path('disk.raw'), threads: 0 })
    expect(sha256(await readFile(path('disk.raw')))).toBe(sha256(disk))
    expect(result.source).toMatchObject({ format: 'raw', virtualSize: disk.length })
    await expect(inspect(path('disk.raw.gz'))).rejects.toMatchObject({ hint: expect.stringContaining('convert') })
  })

  it('xz and bzip2 are refused with the reason', async () => {
    const packed = execFileSync('xz', ['-c', '-0'], { input: disk, maxBuffer: 2 ** 27 })
    await expect(toRaw(packed)).rejects.toMatchObject({ found: 'xz', hint: expect.stringContaining('memory') })
  })
})

describe('a stream that fails', () => {
  it('leaves no file, and is destroyed, when it is aborted while it waits', async () => {
    const abort = new AbortController()
    const source = new PassThrough()
    source.write(disk.subarray(0, 100_000))
    const target = path('aborted.raw')
    const running = convert({ source, to: 'raw', target, threads: 0, signal: abort.signal })
    setTimeout(() => abort.abort(new Error('enough')), 200)
    await expect(running).rejects.toThrow('enough')
    expect(source.destroyed).toBe(true)
    await expect(readFile(target)).rejects.toMatchObject({ code: 'ENOENT' })
  })

  it('says what its own error was', async () => {
    const source = createReadStream(path('there-is-none'))
    await expect(convertToBytes({ source, to: 'raw' })).rejects.toMatchObject({
      code: 'source-unreadable',
      found: 'ENOENT',
    })
  })
})
