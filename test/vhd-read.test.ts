import { readFile, writeFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { convert, inspect } from '../src/index.ts'
import { firstDifference, readDisk } from './support/convert.ts'
import { patched } from './support/patch.ts'
import { noise } from './support/pattern.ts'
import { convertImage } from './support/qemu.ts'
import { tempFolder } from './support/temp-folder.ts'
import { buildFixedVhd, buildVhd, type VhdDescription } from './support/vhd-builder.ts'

const path = tempFolder()
const KiB = 1024
const MiB = 1024 * KiB

/** A disk whose blocks 3, 1 and 0 are stored in that order, and what it holds. */
function descending(blockSize: number, more: Partial<VhdDescription> = {}): { image: Buffer; disk: Buffer } {
  const size = 3 * blockSize + 1536
  const blocks = [3, 1, 0].map((block) => ({ block, data: noise(block + 1, block === 3 ? 1536 : blockSize) }))
  const disk = Buffer.alloc(size)
  for (const { block, data } of blocks) data.copy(disk, block * blockSize)
  return { image: buildVhd({ size, blockSize, blocks, ...more }), disk }
}

async function byQemu(image: Buffer, name: string): Promise<Buffer> {
  await writeFile(path(name), image)
  await convertImage([path(name), 'vpc'], [path(`${name}.raw`), 'raw'])
  return readFile(path(`${name}.raw`))
}

describe('blocks', () => {
  it.each([64 * KiB, 512 * KiB, 2 * MiB, 4 * MiB])(
    'reads blocks of %i bytes that lie in descending order, as QEMU does',
    async (blockSize) => {
      const { image, disk } = descending(blockSize)
      expect((await inspect(image)).details).toMatchObject({ blockSize, blocks: 4 })
      expect(firstDifference(await readDisk(image), disk)).toBeUndefined()
      expect(firstDifference(await byQemu(image, `blocks ${blockSize}`), disk)).toBeUndefined()
    },
  )

  it('reads a block by threads, from a file', async () => {
    const { image, disk } = descending(2 * MiB)
    await writeFile(path('threads.vhd'), image)
    await convert({ source: path('threads.vhd'), to: 'raw', target: path('threads.raw'), threads: 2 })
    expect(firstDifference(await readFile(path('threads.raw')), disk)).toBeUndefined()
  })

  it('reads what a dynamic disk stores whatever the bitmap says', async () => {
    const data = noise(9, 64 * KiB)
    const blocks = [{ block: 1, data, bitmap: 0 }]
    const disk = await readDisk(buildVhd({ size: 192 * KiB, blockSize: 64 * KiB, blocks }))
    expect(firstDifference(disk.subarray(64 * KiB, 128 * KiB), data)).toBeUndefined()
  })

  it('finds the table where the header says, behind whatever lies between', async () => {
    const { image, disk } = descending(64 * KiB, { gap: 3 * 512 })
    expect(firstDifference(await readDisk(image), disk)).toBeUndefined()
  })

  it('takes a table with more entries than blocks', async () => {
    const { image, disk } = descending(64 * KiB, { maxTableEntries: 300 })
    expect((await inspect(image)).details).toMatchObject({ blocks: 4, tableEntries: 300 })
    expect(firstDifference(await readDisk(image), disk)).toBeUndefined()
  })
})

describe("the disk's size", () => {
  /** 100 × 4 × 17 sectors: less than the current size. */
  const geometry = [100, 4, 17] as const
  const byGeometry = 100 * 4 * 17 * 512
  const currentSize = 4 * MiB
  const build = (creator: string, of: VhdDescription['geometry'] = geometry) =>
    buildVhd({ size: currentSize, blockSize: 2 * MiB, blocks: [], creator, geometry: of ?? geometry })

  it.each(['win ', 'qem2', 'd2v ', 'CTXS', 'tap\0'])(
    'is the current size for creator %j, as for QEMU',
    async (creator) => {
      expect(await readDisk(build(creator))).toHaveLength(currentSize)
      expect(await byQemu(build(creator), `creator ${creator.slice(0, 3)}`)).toHaveLength(currentSize)
    },
  )

  it.each(['vpc ', 'qemu'])("is the geometry's for creator %j, as for QEMU", async (creator) => {
    expect(await readDisk(build(creator))).toHaveLength(byGeometry)
    expect(await byQemu(build(creator), `creator ${creator}`)).toHaveLength(byGeometry)
  })

  it('is the current size where the geometry is the largest there is', async () => {
    const image = build('qemu', [65535, 16, 255])
    expect(await readDisk(image)).toHaveLength(currentSize)
    expect(await byQemu(image, 'largest')).toHaveLength(currentSize)
  })

  it('is the current size for a creator that nobody knows, as for QEMU 10', async () => {
    expect(await readDisk(build('vbox'))).toHaveLength(currentSize)
  })

  it('is the current one where a resized disk has another original size, and both are told', async () => {
    const image = buildVhd({ size: 4 * MiB, originalSize: 2 * MiB, blockSize: 2 * MiB, blocks: [] })
    expect(await inspect(image)).toMatchObject({
      virtualSize: 4 * MiB,
      details: { originalSize: String(2 * MiB), currentSize: String(4 * MiB) },
    })
  })

  it("is the geometry's in a fixed disk of an old creator", async () => {
    const data = noise(1, currentSize)
    const image = buildFixedVhd({ size: currentSize, creator: 'vpc ', geometry }, data)
    expect(firstDifference(await readDisk(image), data.subarray(0, byGeometry))).toBeUndefined()
  })
})

describe('footers', () => {
  const data = noise(2, MiB)

  it('reads a fixed disk with a footer of 511 bytes', async () => {
    const image = buildFixedVhd({ size: MiB, footerLength: 511 }, data)
    expect(await inspect(image)).toMatchObject({ format: 'vhd', variant: 'fixed', warnings: [] })
    expect(firstDifference(await readDisk(image), data)).toBeUndefined()
  })

  it('reads a dynamic disk with a footer of 511 bytes', async () => {
    const { image, disk } = descending(64 * KiB, { footerLength: 511 })
    expect((await inspect(image)).warnings).toEqual([])
    expect(firstDifference(await readDisk(image), disk)).toBeUndefined()
  })

  it.each([
    { what: 'a wrong checksum', damage: (image: Buffer) => patched(image, image.length - 512 + 60, [9]) },
    { what: 'no cookie', damage: (image: Buffer) => patched(image, image.length - 512, Buffer.alloc(512)) },
    { what: 'lost bytes', damage: (image: Buffer) => image.subarray(0, image.length - 300) },
  ])('takes the copy in front where the footer has $what, and warns', async ({ damage }) => {
    const { image, disk } = descending(64 * KiB)
    const damaged = damage(image)
    const warning = expect.stringMatching(/footer at the end is damaged .* copy in front was used/)
    expect((await inspect(damaged)).warnings).toEqual([warning])
    expect(firstDifference(await readDisk(damaged), disk)).toBeUndefined()
  })

  it('takes the footer at the end where the copy in front is damaged, and warns', async () => {
    const { image, disk } = descending(64 * KiB)
    const damaged = patched(image, 60, [9])
    expect((await inspect(damaged)).warnings).toEqual([expect.stringMatching(/^the copy .* is damaged \(checksum/)])
    expect(firstDifference(await readDisk(damaged), disk)).toBeUndefined()
  })

  it('takes the footer at the end where the copy in front shows another disk, and warns', async () => {
    const { image, disk } = descending(64 * KiB)
    const front = buildVhd({ size: 64 * KiB, blockSize: 64 * KiB, blocks: [] }).subarray(0, 512)
    const torn = patched(image, 0, front)
    expect((await inspect(torn)).warnings).toEqual([expect.stringContaining('another currentSize')])
    expect(firstDifference(await readDisk(torn), disk)).toBeUndefined()
  })

  it('refuses a dynamic disk with neither footer whole', async () => {
    const { image } = descending(64 * KiB)
    const damaged = patched(patched(image, 60, [9]), image.length - 512 + 60, [9])
    await expect(inspect(damaged)).rejects.toMatchObject({ code: 'malformed', offset: image.length - 512 })
  })

  it('refuses a fixed disk with a damaged footer when told that it is a VHD', async () => {
    const image = buildFixedVhd({ size: MiB }, data)
    const damaged = patched(image, MiB, [0])
    await expect(inspect(damaged, { from: 'vhd' })).rejects.toMatchObject({ code: 'malformed', offset: MiB })
  })

  it.each([512, 511])('refuses a fixed disk that lost data before its footer of %i bytes', async (footerLength) => {
    const image = buildFixedVhd({ size: MiB, footerLength }, data.subarray(100))
    await expect(inspect(image)).rejects.toMatchObject({ code: 'truncated', found: MiB - 100, expected: MiB })
  })

  it('says that a machine was saved with the disk', async () => {
    const { image } = descending(64 * KiB, { savedState: 1 })
    expect((await inspect(image)).features).toEqual(['saved state'])
  })
})
