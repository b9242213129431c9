import { readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { convert, inspect, memorySource, openImage } from '../src/index.ts'
import { firstDifference, readDisk } from './support/convert.ts'
import { contentByQemu, extentsOf, makeForeign, memoryCompanions, toRaw } from './support/foreign-images.ts'
import { expectRefusal, type Lie } from './support/malformed.ts'
import { contentOf, makePattern, noise } from './support/pattern.ts'
import { qemuIo } from './support/qemu.ts'
import { tempFolder } from './support/temp-folder.ts'
import { runTool } from './support/tools.ts'
import {
  BAT,
  changed,
  DISK_SIZE,
  FILE_PARAMETERS,
  HEADERS,
  itemAt,
  METADATA,
  REGION_TABLES,
  regionAt,
  SECTOR_SIZE,
  withLog,
  withParent,
  writeBat,
} from './support/vhdx-patch.ts'

const path = tempFolder()
const KiB = 1024
const MiB = 1024 * KiB
/** Not a whole number of blocks. */
const content = contentOf(makePattern(41, 37 * MiB + 3 * 512))

async function expectDisk(image: string, expected: Buffer): Promise<void> {
  for (const threads of [0, 2]) {
    expect(firstDifference(await toRaw(image, `${image}.raw`, { threads }), expected)).toBeUndefined()
  }
  expect(firstDifference(await contentByQemu(image, 'vhdx'), expected)).toBeUndefined()
}

/** Four blocks of 1 MiB, of which the second and the last are stored. */
const blocks = { second: noise(1, MiB), last: noise(2, MiB) }
const smallContent = Buffer.concat([Buffer.alloc(MiB), blocks.second, Buffer.alloc(MiB), blocks.last])
await makeForeign(path('small.vhdx'), 'vhdx', smallContent, { block_size: MiB })
const small = await readFile(path('small.vhdx'))
const kindsOf = async (image: Buffer) => (await extentsOf(await openImage(memorySource(image)))).map(({ kind }) => kind)

describe('as QEMU makes it', () => {
  it.each([
    { subformat: 'dynamic', block_size: MiB },
    { subformat: 'dynamic', block_size: 16 * MiB },
    { subformat: 'dynamic', block_size: 256 * MiB },
    { subformat: 'dynamic', block_state_zero: 'off' },
    { subformat: 'fixed', block_size: 8 * MiB },
    { subformat: 'fixed', log_size: 4 * MiB },
  ])('reads %o', async (options) => {
    const image = path(`${Object.values(options).join(' ')}.vhdx`)
    await makeForeign(image, 'vhdx', content, options)
    expect(await inspect(image)).toMatchObject({ format: 'vhdx', virtualSize: content.length, warnings: [] })
    await expectDisk(image, content)
  })

  it('tells a fixed disk from a dynamic one', async () => {
    await makeForeign(path('fixed.vhdx'), 'vhdx', smallContent, { subformat: 'fixed', block_size: MiB })
    expect(await inspect(path('fixed.vhdx'))).toMatchObject({ variant: 'fixed', allocation: { hole: 0 } })
    expect(await inspect(small)).toMatchObject({ variant: 'dynamic', allocation: { stored: 2 * MiB } })
  })

  it('passes over the entries of sector bitmaps in the table of a disk of three chunks', async () => {
    const image = path('chunks.vhdx')
    await runTool('qemu-img', ['create', '-q', '-f', 'vhdx', '-o', 'block_size=1M', image, '10G'])
    const writes = ['write -P 1 4095m 2m', 'write -P 2 8190m 4m', 'write -P 3 10239m 1m', 'write -P 4 0 1m']
    await runTool('qemu-io', ['-f', 'vhdx', ...writes.flatMap((write) => ['-c', write]), image])
    expect((await inspect(image)).allocation).toMatchObject({ stored: 8 * MiB })
    await convert({ source: image, to: 'raw', target: path('chunks.raw'), threads: 2 })
    const reads = writes.map((write) => write.replace('write', 'read -q'))
    await qemuIo(path('chunks.raw'), 'raw', [...reads, 'read -q -P 0 4094m 1m', 'read -q -P 0 8194m 1m'])
  })
})

describe('headers and region tables', () => {
  it.each([
    { copy: 'first header', at: HEADERS[0] },
    { copy: 'second header', at: HEADERS[1] },
    { copy: 'first region table', at: REGION_TABLES[0] },
  ])('reads a disk whose $copy is damaged, and says so', async ({ copy, at }) => {
    const image = Buffer.from(small)
    image.writeUInt8(image.readUInt8(at + 40) ^ 1, at + 40)
    expect((await inspect(image)).warnings).toEqual([expect.stringMatching(new RegExp(`${copy} is damaged.*checksum`))])
    expect(firstDifference(await readDisk(image), smallContent)).toBeUndefined()
  })

  it('goes by the header with the greater sequence number', async () => {
    for (const [newer, older] of [HEADERS, [...HEADERS].reverse()] as const) {
      const image = changed(small, (bytes) => {
        bytes.writeBigUInt64LE(9n, newer)
        bytes.writeBigUInt64LE(2n ** 63n + 9n, (newer as number) + 8)
        bytes.write('head', newer as number, 'latin1')
        bytes.writeBigUInt64LE(8n, (older as number) + 8)
        bytes.writeUInt16LE(7, (older as number) + 66)
      })
      expect(firstDifference(await readDisk(image), smallContent)).toBeUndefined()
    }
  })

  it('refuses a dirty log by name, and says when one that is in use is empty', async () => {
    await expect(inspect(withLog(small, { entry: true }))).rejects.toMatchObject({
      code: 'unsupported-feature',
      message: expect.stringContaining('dirty log'),
      found: 'log 04030201-0605-0807-090a-0b0c0d0e0f10',
    })
    const image = withLog(small, { entry: false })
    expect((await inspect(image)).warnings).toEqual([expect.stringContaining('log is empty')])
    expect(firstDifference(await readDisk(image), smallContent)).toBeUndefined()
  })

  it('warns of sectors of 4 KiB', async () => {
    const image = changed(small, (bytes) => bytes.writeUInt32LE(4096, itemAt(bytes, SECTOR_SIZE).item))
    expect((await inspect(image)).warnings).toEqual([expect.stringContaining('4096')])
    expect(firstDifference(await readDisk(image), smallContent)).toBeUndefined()
  })
})

describe('block states', () => {
  it('reads blocks that hold nothing as zeros, whatever their offset says', async () => {
    const states = [0, 1, 2, 3, 5]
    for (const state of states) {
      const image = changed(small, (bytes) => writeBat(bytes, 1, state, 3 * MiB))
      const expected = Buffer.from(smallContent).fill(0, MiB, 2 * MiB)
      expect(firstDifference(await readDisk(image), expected)).toBeUndefined()
    }
    expect(await kindsOf(changed(small, (bytes) => writeBat(bytes, 0, 0, 0)))).toContain('hole')
  })

  it('names the parent of a differencing disk, and refuses it', async () => {
    const parent = { relative_path: '..\\base disk.vhdx', parent_linkage: '{00112233-4455-6677-8899-AABBCCDDEEFF}' }
    const image = withParent(small, parent)
    expect(await inspect(image)).toMatchObject({
      variant: 'differencing',
      backingFile: 'base disk.vhdx',
      parentId: '00112233-4455-6677-8899-aabbccddeeff',
    })
    await expect(readDisk(image)).rejects.toMatchObject({ code: 'unsafe-image', found: 'base disk.vhdx' })
  })

  it('reads a differencing disk over its parent, sector by sector where a block is shared', async () => {
    const { uniqueId } = (await inspect(small)).details
    const child = changed(
      withParent(small, { relative_path: '.\\base.vhdx', parent_linkage: `{${uniqueId}}` }),
      (bytes) => {
        writeBat(bytes, 0, 0, 0)
        writeBat(bytes, 1, 7, Number(bytes.readBigUInt64LE(regionAt(bytes, BAT) + 8) & ~0xfffffn))
        writeBat(bytes, 2, 2, 0)
        writeBat(bytes, 4096, 6, bytes.length)
      },
    )
    const bitmap = Buffer.alloc(MiB)
    bitmap.set([0b0000_0101, 0xff], 256)
    const grandparent = changed(small, (bytes) => bytes.fill(7, bytes.length - 2 * MiB))
    const { companions: backing } = memoryCompanions({ 'base.vhdx': grandparent })
    const below = await readDisk(grandparent)
    const expected = Buffer.from(below).fill(0, 2 * MiB, 3 * MiB)
    for (const sector of [0, 2, 8, 9, 10, 11, 12, 13, 14, 15]) {
      const at = MiB + sector * 512
      smallContent.copy(expected, at, at, at + 512)
    }
    smallContent.copy(expected, 3 * MiB, 3 * MiB)
    const found = await toRaw(Buffer.concat([child, bitmap]), path('child.raw'), { backing, threads: 0 })
    expect(firstDifference(found, expected)).toBeUndefined()
  })
})

describe('a VHDX that lies', () => {
  const bat = regionAt(small, BAT)
  const lie = (name: string, change: (bytes: Buffer) => void, code: Lie['code'], offset?: number): Lie => ({
    lie: name,
    image: changed(small, change),
    code,
    ...(offset !== undefined && { offset }),
  })
  const region = (offset: bigint) => (bytes: Buffer) => bytes.writeBigUInt64LE(offset, REGION_TABLES[0] + 32)
  const inItem = (guid: string, write: (bytes: Buffer, at: number) => void) => (bytes: Buffer) =>
    write(bytes, itemAt(bytes, guid).item)

  it.each<Lie>([
    lie('both headers damaged', (bytes) => HEADERS.map((at) => bytes.fill(0, at, at + 4)), 'malformed', HEADERS[0]),
    lie(
      'two current headers',
      (bytes) => bytes.copy(bytes, HEADERS[0] + 8, HEADERS[1] + 8, HEADERS[1] + 12),
      'malformed',
    ),
    lie('version 2', (bytes) => HEADERS.map((at) => bytes.writeUInt16LE(2, at + 66)), 'unsupported-format'),
    lie('no region table', (bytes) => REGION_TABLES.map((at) => bytes.fill(0, at, at + 4)), 'malformed'),
    lie('2^32-1 regions', (bytes) => bytes.fill(0xff, REGION_TABLES[0] + 8, REGION_TABLES[0] + 12), 'too-large'),
    lie('no regions', (bytes) => bytes.fill(0, REGION_TABLES[0] + 8, REGION_TABLES[0] + 12), 'malformed'),
    lie(
      'a region that is not known',
      (bytes) => bytes.fill(1, REGION_TABLES[0] + 16, REGION_TABLES[0] + 48),
      'unsupported-feature',
    ),
    lie('a region at an odd place', region(0x200001n), 'malformed', REGION_TABLES[0] + 16),
    lie('a region at 0', region(0n), 'malformed', REGION_TABLES[0] + 16),
    lie('a region at 2^63', region(2n ** 63n), 'malformed', REGION_TABLES[0] + 16),
    lie('a BAT past the end', region(2n ** 40n), 'truncated'),
    lie('a BAT on top of the metadata', region(BigInt(regionAt(small, METADATA))), 'malformed'),
    lie(
      'metadata without a signature',
      (bytes) => bytes.fill(0, regionAt(bytes, METADATA), regionAt(bytes, METADATA) + 8),
      'malformed',
    ),
    lie('2048 metadata items', (bytes) => bytes.writeUInt16LE(2048, regionAt(bytes, METADATA) + 10), 'too-large'),
    lie('no metadata items', (bytes) => bytes.writeUInt16LE(0, regionAt(bytes, METADATA) + 10), 'malformed'),
    lie('an item in the table', (bytes) => bytes.writeUInt32LE(64, itemAt(bytes, DISK_SIZE).entry + 16), 'malformed'),
    lie(
      'an item past its region',
      (bytes) => bytes.writeUInt32LE(2 ** 31, itemAt(bytes, DISK_SIZE).entry + 16),
      'malformed',
    ),
    lie('an item of 2 GiB', (bytes) => bytes.writeUInt32LE(2 ** 31, itemAt(bytes, DISK_SIZE).entry + 20), 'malformed'),
    lie(
      'an item that is not known',
      (bytes) => bytes.writeUInt32LE(9, itemAt(bytes, DISK_SIZE).entry),
      'unsupported-feature',
    ),
    lie(
      'an item twice',
      (bytes) =>
        bytes.copy(
          bytes,
          itemAt(bytes, DISK_SIZE).entry,
          itemAt(bytes, SECTOR_SIZE).entry,
          itemAt(bytes, SECTOR_SIZE).entry + 16,
        ),
      'malformed',
    ),
    lie(
      'blocks of 3 MiB',
      inItem(FILE_PARAMETERS, (bytes, at) => bytes.writeUInt32LE(3 * MiB, at)),
      'malformed',
    ),
    lie(
      'blocks of 2 GiB',
      inItem(FILE_PARAMETERS, (bytes, at) => bytes.writeUInt32LE(2 ** 31, at)),
      'malformed',
    ),
    lie(
      'blocks of no size',
      inItem(FILE_PARAMETERS, (bytes, at) => bytes.writeUInt32LE(0, at)),
      'malformed',
    ),
    lie(
      'sectors of 1024 bytes',
      inItem(SECTOR_SIZE, (bytes, at) => bytes.writeUInt32LE(1024, at)),
      'malformed',
    ),
    lie(
      'a disk of 128 TiB',
      inItem(DISK_SIZE, (bytes, at) => bytes.writeBigUInt64LE(2n ** 47n, at)),
      'too-large',
    ),
    lie(
      'a disk of 2^63 bytes',
      inItem(DISK_SIZE, (bytes, at) => bytes.writeBigUInt64LE(2n ** 63n, at)),
      'malformed',
    ),
    lie(
      'a disk of half a sector',
      inItem(DISK_SIZE, (bytes, at) => bytes.writeBigUInt64LE(100n, at)),
      'malformed',
    ),
    lie(
      'a disk beyond its BAT',
      inItem(DISK_SIZE, (bytes, at) => bytes.writeBigUInt64LE(2n ** 40n, at)),
      'malformed',
    ),
    lie(
      'a parent without a locator',
      inItem(FILE_PARAMETERS, (bytes, at) => bytes.writeUInt32LE(2, at + 4)),
      'malformed',
    ),
    lie('a block past the end', (bytes) => writeBat(bytes, 1, 6, 2 ** 40), 'truncated', bat + 8),
    lie('a block at 2^63', (bytes) => bytes.fill(0xff, bat + 15, bat + 16), 'truncated', bat + 8),
    lie('a block in the headers', (bytes) => writeBat(bytes, 1, 6, 0), 'malformed', bat + 8),
    lie('a block of state 4', (bytes) => writeBat(bytes, 1, 4, MiB), 'malformed', bat + 8),
    lie('a shared block without a parent', (bytes) => writeBat(bytes, 1, 7, MiB), 'malformed', bat + 8),
    { lie: 'half its headers', image: small.subarray(0, 100_000), code: 'malformed' },
    { lie: 'half its data', image: small.subarray(0, -600_000), code: 'truncated' },
    { lie: 'another identifier', image: Buffer.from(small).fill(0, 0, 3), code: 'malformed', offset: 0 },
  ])('is refused: $lie', (lies) => expectRefusal(lies, 'vhdx'))
})
