import { readFile, writeFile } from 'node:fs/promises'
import { beforeAll, describe, expect, it } from 'vitest'
import { convert, inspect, memorySource, openImage } from '../src/index.ts'
import { firstDifference } from './support/convert.ts'
import { extentsOf, toRaw } from './support/foreign-images.ts'
import { patched } from './support/patch.ts'
import { contentOf, makePattern, noise } from './support/pattern.ts'
import { convertImage, createImage, differenceOf, qemuIo } from './support/qemu.ts'
import { tempFolder } from './support/temp-folder.ts'

const path = tempFolder()
const KiB = 1024
const MiB = 1024 * KiB
/** Not a whole number of clusters. */
const content = contentOf(makePattern(12, 9 * MiB + 3 * 512))

const le32 = (value: number) => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

describe('as QEMU makes it', () => {
  beforeAll(() => writeFile(path('disk.raw'), content))

  it.each([64 * KiB, MiB])('reads clusters of %s bytes', async (clusterSize) => {
    const image = path(`${clusterSize}.hds`)
    await convertImage([path('disk.raw'), 'raw'], [image, 'parallels'], { options: { cluster_size: clusterSize } })
    const expected = { format: 'parallels', variant: 'expandable', virtualSize: content.length, warnings: [] }
    expect(await inspect(image)).toMatchObject({ ...expected, details: { clusterSize } })
    for (const threads of [0, 2]) {
      expect(firstDifference(await toRaw(image, path('out.raw'), { threads }), content)).toBeUndefined()
    }
    await convert({ source: image, to: 'qcow2', target: path('out.qcow2') })
    expect(await differenceOf([image, 'parallels'], [path('out.qcow2'), 'qcow2'])).toBeUndefined()
  })

  it('reads clusters that were written in no order, and holes between them', async () => {
    const image = path('written.hds')
    await createImage(image, 'parallels', 20 * MiB)
    await qemuIo(image, 'parallels', ['write -P 1 15m 70k', 'write -P 2 3m 2m', 'write -P 3 0 1k'])
    expect((await inspect(image)).allocation?.hole).toBe(16 * MiB)
    const expected = Buffer.alloc(20 * MiB)
      .fill(1, 15 * MiB, 15 * MiB + 70 * KiB)
      .fill(2, 3 * MiB, 5 * MiB)
      .fill(3, 0, KiB)
    expect(firstDifference(await toRaw(image, path('written.raw'), {}), expected)).toBeUndefined()
  })
})

/** Four clusters of 4 KiB in the older form, which no tool at hand writes: places count in sectors. */
function oldImage(): Buffer {
  const header = Buffer.alloc(64)
  header.write('WithoutFreeSpace', 'latin1')
  for (const [offset, value] of [
    [16, 2],
    [28, 8],
    [32, 4],
    [36, 31],
    [40, 0xdead],
  ] as const)
    header.writeUInt32LE(value, offset)
  const table = Buffer.concat([9, 0, 1, 0].map(le32))
  return Buffer.concat([header, table, Buffer.alloc(512 - 80), noise(1, 4096), noise(2, 4096)])
}

describe('the older form', () => {
  it('counts places in sectors, and has 32 bits for the size', async () => {
    const image = await openImage(memorySource(oldImage()))
    expect(image).toMatchObject({ virtualSize: 31 * 512, facts: { variant: 'expandable, old' } })
    expect(await extentsOf(image)).toEqual([
      { guest: 0, length: 4096, kind: 'stored', host: 4608 },
      { guest: 4096, length: 4096, kind: 'hole' },
      { guest: 8192, length: 4096, kind: 'stored', host: 512 },
      { guest: 12288, length: 31 * 512 - 12288, kind: 'hole' },
    ])
    await writeFile(path('old.hds'), oldImage())
    await toRaw(path('old.hds'), path('old.raw'), {})
    expect(await differenceOf([path('old.hds'), 'parallels'], [path('old.raw'), 'raw'])).toBeUndefined()
  })
})

describe('a damaged image', () => {
  it.each([
    ['a version of its own', 16, 3, 'unsupported-feature', 16],
    ['no clusters', 28, 0, 'malformed', 28],
    ['clusters of 2 TiB', 28, 0xffffffff, 'too-large', 28],
    ['fewer entries than the disk needs', 32, 3, 'malformed', 32],
    ['a disk beyond its table', 36, 0xffffffff, 'malformed', 32],
    ['a cluster in the header', 64, 0xffffffff, 'truncated', 64],
    ['a cluster behind the end', 64, 10, 'truncated', 64],
  ] as const)('with %s is refused, with the place', async (_, offset, value, code, at) => {
    const bytes = patched(oldImage(), offset, le32(value))
    await expect(inspect(memorySource(bytes))).rejects.toMatchObject({ code, offset: at })
  })

  it('is refused where its table is cut', async () => {
    await expect(inspect(memorySource(oldImage().subarray(0, 79)))).rejects.toMatchObject({ code: 'truncated' })
    await expect(inspect(memorySource(oldImage().subarray(0, 60)))).rejects.toMatchObject({ code: 'malformed' })
  })

  it('is told where its last writer has not closed it', async () => {
    const { warnings } = await inspect(memorySource(patched(oldImage(), 44, le32(0x746f6e59))))
    expect(warnings).toEqual([expect.stringContaining('was not closed')])
  })

  it('whose cluster lies in its table is refused, in the newer form too', async () => {
    await createImage(path('lie.hds'), 'parallels', 200 * MiB, { options: { cluster_size: 512 } })
    const bytes = await readFile(path('lie.hds'))
    await expect(inspect(memorySource(patched(bytes, 64, le32(3))))).rejects.toMatchObject({
      code: 'malformed',
      offset: 64,
    })
  })
})
