import { readFile, writeFile } from 'node:fs/promises'
import { inflateSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { convert } from '../src/index.ts'
import { convertToBytes, firstDifference, readDisk, sha256 } from './support/convert.ts'
import { contentOf, fullPattern, makePattern, type Pattern } from './support/pattern.ts'
import { differenceOf, imageInfo } from './support/qemu.ts'
import { tempFolder } from './support/temp-folder.ts'
import { runTool } from './support/tools.ts'

const path = tempFolder()
const SECTOR = 512
const GRAIN = 65536
const SIZES = [0, 512, 65536, 65536 + 512, 33 * 2 ** 20 + 4096 + 512, 70 * 2 ** 20]

interface Marker {
  offset: number
  value: number
  size: number
  type: number
}

/** Walks a streamOptimized file front to back by its markers, as VMware's specification tells it; shares no code with src. */
function walkMarkers(file: Buffer): { grains: Map<number, Buffer>; markers: Marker[] } {
  const grains = new Map<number, Buffer>()
  const markers: Marker[] = []
  for (let offset = 128 * SECTOR; offset < file.length; ) {
    const value = Number(file.readBigUInt64LE(offset))
    const size = file.readUInt32LE(offset + 8)
    if (size > 0) {
      grains.set(value, inflateSync(file.subarray(offset + 12, offset + 12 + size)))
      offset += Math.ceil((12 + size) / SECTOR) * SECTOR
    } else {
      const type = file.readUInt32LE(offset + 12)
      markers.push({ offset, value, size, type })
      offset += SECTOR * (1 + value)
    }
  }
  return { grains, markers }
}

const asVmdk = (pattern: Pattern, options = {}) =>
  convertToBytes({ source: contentOf(pattern), from: 'raw', to: 'vmdk', options })

describe('streamOptimized', () => {
  it('has the header of the specification: version 3, flags, directory at the end', async () => {
    const size = 70 * 2 ** 20
    const file = await asVmdk(makePattern(1, size))
    expect(file.toString('latin1', 0, 4)).toBe('KDMV')
    expect(file.readUInt32LE(4)).toBe(3)
    expect(file.readUInt32LE(8)).toBe(0x30001)
    expect(file.readBigUInt64LE(12)).toBe(BigInt(size / SECTOR))
    expect(file.readBigUInt64LE(20)).toBe(128n)
    expect(file.readUInt32LE(44)).toBe(512)
    expect(file.readBigUInt64LE(56)).toBe(0xffffffffffffffffn)
    expect(file.readBigUInt64LE(64)).toBe(128n)
    expect(file.toString('latin1', 73, 77)).toBe('\n \r\n')
    expect(file.readUInt16LE(77)).toBe(1)
  })

  it('ends with footer marker, footer that holds the directory’s offset, and end of stream', async () => {
    const file = await asVmdk(makePattern(2, 70 * 2 ** 20))
    const [marker, footer, end] = [3, 2, 1].map((n) =>
      file.subarray(file.length - n * SECTOR, file.length - (n - 1) * SECTOR),
    )
    expect([marker?.readBigUInt64LE(0), marker?.readUInt32LE(8), marker?.readUInt32LE(12)]).toEqual([1n, 0, 3])
    expect(end?.every((byte) => byte === 0)).toBe(true)
    const expected = Buffer.from(file.subarray(0, SECTOR))
    const directory = footer?.readBigUInt64LE(56) ?? 0n
    expected.writeBigUInt64LE(directory, 56)
    expect(footer?.equals(expected)).toBe(true)
    const before = Number(directory - 1n) * SECTOR
    expect([file.readUInt32LE(before + 8), file.readUInt32LE(before + 12)]).toEqual([0, 2])
  })

  it('its markers lead to every grain, and its tables to the same grains', async () => {
    const size = 70 * 2 ** 20
    const disk = contentOf(makePattern(3, size))
    const file = await asVmdk(makePattern(3, size))
    const { grains, markers } = walkMarkers(file)
    const found = Buffer.alloc(size)
    for (const [lba, grain] of grains) grain.copy(found, lba * SECTOR)
    expect(firstDifference(found, disk)).toBeUndefined()
    expect([...grains.keys()]).toEqual([...grains.keys()].sort((a, b) => a - b))
    expect(markers.slice(-3).map(({ type }) => type)).toEqual([2, 3, 0])
    const directory = Number(file.readBigUInt64LE(file.length - 2 * SECTOR + 56)) * SECTOR
    const tables = markers.filter(({ type }) => type === 1)
    for (const { offset, value } of tables) {
      expect(value).toBe(4)
      expect(directoryOf(file, directory)).toContain(offset / SECTOR + 1)
    }
  })

  const directoryOf = (file: Buffer, at: number) => [0, 1, 2].map((i) => file.readUInt32LE(at + i * 4))

  it('its descriptor has the keys that importers read, no indented line, and room behind it', async () => {
    const file = await asVmdk(makePattern(4, 2 ** 30), { adapter_type: 'ide', hwversion: 13, cid: 'deadbeef' })
    const text = file.toString('utf8', SECTOR, 21 * SECTOR)
    const descriptor = text.replace(/\0+$/, '')
    for (const line of [
      'version=1',
      'encoding="UTF-8"',
      'CID=deadbeef',
      'parentCID=ffffffff',
      'createType="streamOptimized"',
      'RW 2097152 SPARSE "disk.vmdk"',
      'ddb.adapterType = "ide"',
      'ddb.geometry.heads = "16"',
      'ddb.geometry.sectors = "63"',
      'ddb.toolsVersion = "2147483647"',
      'ddb.virtualHWVersion = "13"',
    ]) {
      expect(descriptor.split('\n')).toContain(line)
    }
    expect(descriptor).toMatch(/ddb\.longContentID = "[0-9a-f]{24}deadbeef"/)
    expect(descriptor.split('\n').every((line) => !/^\s/.test(line))).toBe(true)
    expect(text.length - descriptor.length).toBeGreaterThan(SECTOR)
  })

  it('is the same disk to qemu-img when libdeflate packs it, in other bytes', async () => {
    const pattern = fullPattern(5, 8 * 2 ** 20)
    const raw = path('libdeflate.raw')
    const target = path('libdeflate.vmdk')
    await writeFile(raw, Buffer.concat([contentOf(pattern), Buffer.from('text that shrinks '.repeat(2 ** 16))]))
    const options = { level: 6, compressor: 'libdeflate' } as const
    const { crc32c } = await convert({ source: raw, from: 'raw', to: 'vmdk', options, target })
    expect(await differenceOf([raw, 'raw'], [target, 'vmdk'])).toBeUndefined()
    const plain = await convert({
      source: raw,
      from: 'raw',
      to: 'vmdk',
      options: { level: 6 },
      target: path('zlib.vmdk'),
    })
    expect(crc32c).not.toBe(plain.crc32c)
  })

  it('an all-zero disk holds no grain', async () => {
    const { grains } = walkMarkers(await asVmdk({ size: 40 * 2 ** 20, writes: [] }))
    expect(grains.size).toBe(0)
  })
})

describe.each(['streamOptimized', 'monolithicSparse'] as const)('%s', (subformat) => {
  it.each(SIZES)('a disk of %d bytes is the same to qemu-img, to vmdkinfo and to our reader', async (size) => {
    const disk = contentOf(makePattern(size + 9, size))
    const raw = path(`${subformat}-${size}.raw`)
    const target = path(`${subformat}-${size}.vmdk`)
    await convert({ source: disk, from: 'raw', to: 'vmdk', options: { subformat }, target, threads: 0 })
    await convert({ source: disk, from: 'raw', to: 'raw', target: raw, threads: 0 })
    expect(firstDifference(await readDisk(target), disk)).toBeUndefined()
    if (size === 0) return
    expect(await differenceOf([target, 'vmdk'], [raw, 'raw'])).toBeUndefined()
    expect((await imageInfo(target, 'vmdk'))['virtual-size']).toBe(size)
    const { stdout } = await runTool('vmdkinfo', [target])
    expect(stdout).toContain(`${size} bytes`)
  })

  it('a full disk of noise, which does not shrink, is whole', async () => {
    const disk = contentOf(fullPattern(3, 3 * GRAIN + 512))
    const target = path(`${subformat}-full.vmdk`)
    await convert({ source: disk, from: 'raw', to: 'vmdk', options: { subformat }, target, threads: 0 })
    expect(firstDifference(await readDisk(target), disk)).toBeUndefined()
  })

  it('gives the same bytes with any number of threads', async () => {
    const source = contentOf(makePattern(5, 9 * 2 ** 20))
    const to = 'vmdk'
    const all = await Promise.all(
      [0, 1, 2].map((threads) => convertToBytes({ source, from: 'raw', to, options: { subformat }, threads })),
    )
    expect(new Set(all.map(sha256)).size).toBe(1)
  })

  it('7-Zip reads the same disk', async () => {
    const source = new URL('../fixtures/real-ext4.qcow2', import.meta.url).pathname
    const target = path(`${subformat}-real.vmdk`)
    await convert({ source, to: 'vmdk', options: { subformat }, target })
    const files = async (image: string) => (await runTool('7z', ['l', '-ba', image])).stdout
    const raw = path('real.raw')
    await convert({ source, to: 'raw', target: raw })
    expect((await readFile(target)).length).toBeGreaterThan(0)
    expect(listed(await files(target))).toEqual(listed(await files(raw)))
  })
})

/** Names and sizes that 7-Zip lists, without what it says of the container. */
function listed(output: string): string[] {
  return output
    .split('\n')
    .filter((line) => /\.txt|\.html|bin\//.test(line))
    .map((line) => line.replace(/\s+/g, ' ').trim())
}
