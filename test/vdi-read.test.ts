import { writeFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { inspect, memorySource, openImage } from '../src/index.ts'
import { firstDifference, readDisk } from './support/convert.ts'
import { contentByQemu, extentsOf, makeForeign, memoryCompanions, toRaw } from './support/foreign-images.ts'
import { expectRefusal, type Lie } from './support/malformed.ts'
import { patched } from './support/patch.ts'
import { contentOf, makePattern, noise } from './support/pattern.ts'
import { tempFolder } from './support/temp-folder.ts'
import { runTool } from './support/tools.ts'
import { buildVdi, MAP_AT, type VdiDescription } from './support/vdi-builder.ts'

const path = tempFolder()
const KiB = 1024
const MiB = 1024 * KiB
/** Not a whole number of blocks. */
const content = contentOf(makePattern(31, 37 * MiB + 3 * 512))

async function expectDisk(image: string, expected: Buffer): Promise<void> {
  for (const threads of [0, 2]) {
    expect(firstDifference(await toRaw(image, `${image}.raw`, { threads }), expected)).toBeUndefined()
  }
  expect(firstDifference(await contentByQemu(image, 'vdi'), expected)).toBeUndefined()
}

const [first, second] = [noise(1, 4 * KiB), noise(2, 4 * KiB)]
const parent = Buffer.from('00112233445566778899aabbccddeeff', 'hex')
const parentUuid = '33221100-5544-7766-8899-aabbccddeeff'
const base = { size: 20 * KiB, blockSize: 4 * KiB, blocks: ['free', first, 'zero', second, first] } as const
const baseContent = Buffer.concat([Buffer.alloc(4 * KiB), first, Buffer.alloc(4 * KiB), second, first])

describe('as QEMU makes it', () => {
  it.each([
    { static: 'off', variant: 'dynamic' },
    { static: 'on', variant: 'fixed' },
  ])('reads a $variant disk', async ({ variant, ...options }) => {
    const image = path(`${variant}.vdi`)
    await makeForeign(image, 'vdi', content, options)
    expect(await inspect(image)).toMatchObject({
      format: 'vdi',
      variant,
      virtualSize: content.length,
      details: { blockSize: MiB, blocks: 38 },
    })
    await expectDisk(image, content)
  })

  it('reads blocks that were written in no order, and holes between them', async () => {
    const image = path('written.vdi')
    await runTool('qemu-img', ['create', '-q', '-f', 'vdi', image, String(content.length)])
    const writes = ['write -P 1 30m 70k', 'write -P 2 5m 3m', 'write -P 3 0 1k', 'write -P 4 37m 1k']
    await runTool('qemu-io', ['-f', 'vdi', ...writes.flatMap((write) => ['-c', write]), image])
    const expected = Buffer.alloc(content.length)
      .fill(1, 30 * MiB, 30 * MiB + 70 * KiB)
      .fill(2, 5 * MiB, 8 * MiB)
      .fill(3, 0, KiB)
      .fill(4, 37 * MiB, 37 * MiB + KiB)
    expect((await inspect(image)).allocation?.hole).toBe(32 * MiB)
    await expectDisk(image, expected)
  })
})

describe('as VirtualBox may write it', () => {
  it('reads free and zero blocks, and tells them apart', async () => {
    expect(await extentsOf(await openImage(memorySource(buildVdi(base))))).toMatchObject([
      { guest: 0, length: 4 * KiB, kind: 'hole' },
      { guest: 4 * KiB, length: 4 * KiB, kind: 'stored' },
      { guest: 8 * KiB, length: 4 * KiB, kind: 'zero' },
      { guest: 12 * KiB, length: 4 * KiB, kind: 'stored' },
      { guest: 16 * KiB, length: 4 * KiB, kind: 'stored' },
    ])
    expect(firstDifference(await readDisk(buildVdi(base)), baseContent)).toBeUndefined()
  })

  it('reads blocks behind extra bytes', async () => {
    expect(firstDifference(await readDisk(buildVdi({ ...base, extra: 512 })), baseContent)).toBeUndefined()
  })

  it('reads a disk that ends inside its last block, and a file that ends there too', async () => {
    const blocks = ['free', 'free', 'zero', 'free', first] as const
    const image = buildVdi({ ...base, size: 18 * KiB, blocks }).subarray(0, -2 * KiB)
    const expected = Buffer.concat([Buffer.alloc(16 * KiB), first.subarray(0, 2 * KiB)])
    expect(firstDifference(await readDisk(image), expected)).toBeUndefined()
    await expect(readDisk(image.subarray(0, -1))).rejects.toMatchObject({ code: 'truncated' })
  })

  it('gives a part of the disk as a part of its extents', async () => {
    const image = await openImage(memorySource(buildVdi(base)))
    expect(await extentsOf(image, 6 * KiB, 13 * KiB)).toMatchObject([
      { guest: 6 * KiB, length: 2 * KiB, kind: 'stored' },
      { guest: 8 * KiB, length: 4 * KiB, kind: 'zero' },
      { guest: 12 * KiB, length: KiB, kind: 'stored' },
    ])
  })

  it.each([{ type: 4 }, { type: 1 }])('names the parent of a disk of type $type, and refuses it', async ({ type }) => {
    const image = buildVdi({ ...base, type, parent })
    expect(await inspect(image)).toMatchObject({
      backingFile: parentUuid,
      parentId: parentUuid,
      allocation: { parent: 4 * KiB, zero: 4 * KiB, hole: 0 },
    })
    await expect(readDisk(image)).rejects.toMatchObject({ code: 'unsafe-image', found: parentUuid })
  })

  it('reads a differencing disk over the parent that the caller hands over, by its id', async () => {
    const below = buildVdi({ ...base, blocks: [second, 'free', first, first, 'free'] })
    parent.copy(below, 392)
    const child = buildVdi({ ...base, type: 4, parent })
    await writeFile(path('child.vdi'), child)
    const { companions: backing } = memoryCompanions({ [parentUuid]: below })
    const expected = Buffer.concat([second, baseContent.subarray(4 * KiB)])
    const found = await toRaw(path('child.vdi'), path('child.raw'), { backing })
    expect(firstDifference(found, expected)).toBeUndefined()
    const other = memoryCompanions({ [parentUuid]: buildVdi(base) }).companions
    await expect(toRaw(child, path('child.raw'), { backing: other })).rejects.toMatchObject({ code: 'malformed' })
  })
})

describe('a VDI that lies', () => {
  const lie = (name: string, fields: Partial<VdiDescription>, code: Lie['code'], offset?: number): Lie => ({
    lie: name,
    image: buildVdi({ ...base, ...fields }),
    code,
    ...(offset !== undefined && { offset }),
  })
  const block = (entry: readonly number[]) => patched(buildVdi(base), MAP_AT + 4, entry)

  it.each<Lie>([
    lie('version 1.2', { version: 0x00010002 }, 'unsupported-format', 68),
    lie('version 0.1', { version: 1 }, 'unsupported-format', 68),
    lie('an undo image', { type: 3 }, 'unsupported-feature', 76),
    lie('no known type', { type: 77 }, 'unsupported-feature', 76),
    lie('sectors of 4 KiB', { sectorSize: 4096 }, 'malformed', 360),
    lie('blocks of 3000 bytes', { blockSize: 3000 }, 'malformed', 376),
    lie('blocks of 256 bytes', { blockSize: 256, blocks: [] }, 'malformed', 376),
    lie('too few blocks', { stated: 4 }, 'malformed', 384),
    lie('more blocks than the file holds', { stated: 0x3fffffff }, 'truncated', 340),
    lie('a disk of 8 EiB', { size: 2 ** 63 }, 'malformed'),
    lie('a disk of 4 PiB', { size: 2 ** 52 }, 'too-large', 368),
    lie('a map in the header', { mapOffset: 0 }, 'malformed', 340),
    lie('a map past the end', { mapOffset: 2 ** 31 }, 'truncated', 340),
    lie('data in the map', { dataOffset: MAP_AT }, 'malformed', 344),
    lie('data past the end', { dataOffset: 2 ** 31 }, 'truncated', MAP_AT + 4),
    { lie: 'a block past the end', image: block([9, 9, 0, 0]), code: 'truncated', offset: MAP_AT + 4 },
    { lie: 'a block of number 2^32 - 3', image: block([0xfd, 255, 255, 255]), code: 'truncated', offset: MAP_AT + 4 },
    { lie: 'half a header', image: buildVdi(base).subarray(0, 300), code: 'malformed' },
    { lie: 'half its data', image: buildVdi(base).subarray(0, 5000), code: 'truncated' },
    { lie: 'another signature', image: patched(buildVdi(base), 64, [0]), code: 'malformed', offset: 64 },
  ])('is refused: $lie', (lies) => expectRefusal(lies, 'vdi'))
})
