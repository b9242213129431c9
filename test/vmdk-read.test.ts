import { mkdir, stat, unlink, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { describe, expect, it } from 'vitest'
import { convert, folderCompanions, inspect, memorySource, openImage } from '../src/index.ts'
import { firstDifference, readDisk } from './support/convert.ts'
import { contentByQemu, extentsOf, makeForeign, memoryCompanions, toRaw } from './support/foreign-images.ts'
import { expectRefusal } from './support/malformed.ts'
import { contentOf, makePattern, noise } from './support/pattern.ts'
import { countingSource } from './support/sources.ts'
import { tempFolder } from './support/temp-folder.ts'
import { runTool } from './support/tools.ts'
import { cowd, descriptor, seSparse, sparse, sparseHeader, streamOptimized } from './support/vmdk-builder.ts'
import { extentLies, vmdkLies } from './support/vmdk-lies.ts'

const path = tempFolder()
const KiB = 1024
const MiB = 1024 * KiB
/** Three grain tables, the last grain of which holds one sector. */
const content = contentOf(makePattern(21, 70 * MiB + 512))
const small = contentOf(makePattern(22, 3 * MiB + 512))
const sectors = (bytes: Buffer) => bytes.length / 512

/** Both ways of reading files, and QEMU's. */
async function expectDisk(image: string, expected: Buffer): Promise<void> {
  for (const threads of [0, 2]) {
    expect(firstDifference(await toRaw(image, `${image}.raw`, { threads }), expected)).toBeUndefined()
  }
  expect(firstDifference(await contentByQemu(image, 'vmdk'), expected)).toBeUndefined()
}

describe('a disk in one file, as QEMU makes it', () => {
  it.each(['monolithicSparse', 'streamOptimized'])('reads %s', async (subformat) => {
    await makeForeign(path(subformat), 'vmdk', content, { subformat })
    expect(await inspect(path(subformat))).toMatchObject({
      format: 'vmdk',
      variant: subformat,
      virtualSize: content.length,
      warnings: [],
      details: { grainSize: 64 * KiB },
    })
    await expectDisk(path(subformat), content)
  })

  it('reads zeroed grains, and tells them from grains that were never written', async () => {
    const image = path('zeroed.vmdk')
    await makeForeign(image, 'vmdk', small, { subformat: 'monolithicSparse', zeroed_grain: 'on' })
    await runTool('qemu-io', ['-f', 'vmdk', '-c', 'write -z 64k 128k', '-c', 'write -z 2m 64k', image])
    const zeroed = Buffer.from(small)
      .fill(0, 64 * KiB, 192 * KiB)
      .fill(0, 2 * MiB, 2 * MiB + 64 * KiB)
    expect((await inspect(image)).allocation?.zero).toBeGreaterThanOrEqual(192 * KiB)
    await expectDisk(image, zeroed)
  })

  it('reads a disk that was written here and there, its grains in no order', async () => {
    await makeForeign(path('rewritten'), 'vmdk', small, { subformat: 'monolithicSparse' })
    const writes = ['write -P 7 2900k 10k', 'write -P 8 1m 4k', 'write -P 9 2m 70k', 'write -P 10 0 1k']
    await runTool('qemu-io', ['-f', 'vmdk', ...writes.flatMap((write) => ['-c', write]), path('rewritten')])
    await expectDisk(path('rewritten'), await contentByQemu(path('rewritten'), 'vmdk'))
  })

  it('reads the extent that is this file, whatever its descriptor calls it', async () => {
    const image = streamOptimized({ content: small }, { name: '/etc/passwd' })
    expect(firstDifference(await readDisk(image), small)).toBeUndefined()
  })

  it('reads version 3 without compression, which came for changed block tracking', async () => {
    const text = descriptor([`RW ${sectors(small)} SPARSE "x"`], { lines: ['changeTrackPath="x-ctk.vmdk"'] })
    const image = sparse({ content: small }, { version: 3, unclean: 1 }, text)
    expect(await inspect(image)).toMatchObject({
      features: ['changed block tracking'],
      warnings: [expect.stringContaining('not closed cleanly')],
    })
    expect(firstDifference(await readDisk(image), small)).toBeUndefined()
  })

  it('names the parent of a child, and refuses it', async () => {
    const text = descriptor([`RW ${sectors(small)} SPARSE "x.vmdk"`], {
      parentCid: '12345678',
      lines: ['parentFileNameHint="C:\\disks\\base disk.vmdk"'],
    })
    const image = sparse({ content: small }, {}, text)
    const found = await inspect(image)
    expect(found).toMatchObject({
      backingFile: 'base disk.vmdk',
      parentId: '12345678',
      allocation: { hole: 0, zero: 0 },
    })
    expect(found.allocation?.parent).toBeGreaterThan(0)
    await expect(readDisk(image)).rejects.toMatchObject({ code: 'unsafe-image', found: 'base disk.vmdk' })
  })

  it('reads a child over the parent that the caller hands over, and no other', async () => {
    const [base, child] = [path('base.vmdk'), path('child.vmdk')]
    await makeForeign(base, 'vmdk', small, { subformat: 'streamOptimized' })
    await runTool('qemu-img', ['create', '-q', '-f', 'vmdk', '-b', base, '-F', 'vmdk', child])
    await runTool('qemu-io', ['-f', 'vmdk', '-c', 'write -P 9 1000k 200k', '-c', 'write -P 8 0 5k', child])
    const expected = await contentByQemu(child, 'vmdk')
    const backing = folderCompanions(dirname(base))
    expect(firstDifference(await toRaw(child, `${child}.raw`, { backing, threads: 2 }), expected)).toBeUndefined()
    await makeForeign(base, 'vmdk', small)
    await expect(toRaw(child, `${child}.raw`, { backing })).rejects.toMatchObject({ code: 'malformed' })
  })
})

describe('streamOptimized as ESXi writes it', () => {
  it('reads the footer instead of the header, over three tables', async () => {
    await writeFile(path('stream.vmdk'), streamOptimized({ content }))
    await expectDisk(path('stream.vmdk'), content)
    expect(await inspect(path('stream.vmdk'))).toMatchObject({ features: ['compressed grains', 'markers'] })
  })

  it.each([true, false])('reads a last grain that was packed whole: %s', async (wholeLast) => {
    await writeFile(path(`last ${wholeLast}`), streamOptimized({ content: Buffer.alloc(200 * 512, 5) }, { wholeLast }))
    await expectDisk(path(`last ${wholeLast}`), Buffer.alloc(200 * 512, 5))
  })

  it.each([1, 8, 2048])('reads grains of %i sectors', async (grain) => {
    expect(firstDifference(await readDisk(streamOptimized({ content: small, grain })), small)).toBeUndefined()
  })

  it('bounds each grain by the next one, so that neighbours are one run of the file', async () => {
    const image = await openImage(memorySource(streamOptimized({ content: noise(1, 2 * MiB) })))
    const extents = await extentsOf(image)
    expect(extents).toHaveLength(32)
    for (const [index, { host = 0, packed = 0 }] of extents.entries()) {
      expect(packed).toBeLessThanOrEqual(64 * KiB + 1024)
      if (index > 0) expect(host).toBe((extents[index - 1]?.host ?? 0) + (extents[index - 1]?.packed ?? 0))
    }
  })

  it('reads header and tables only, and a part of them for a part of the disk', async () => {
    const source = countingSource(streamOptimized({ content }))
    const image = await openImage(source)
    const whole = await extentsOf(image)
    expect(source.reads.reduce((sum, { length }) => sum + length, 0)).toBeLessThan(400 * KiB)
    const part = await extentsOf(image, 40 * MiB, 40 * MiB + 100)
    expect(part).toEqual(whole.filter(({ guest, length }) => guest <= 40 * MiB && guest + length > 40 * MiB).map(clip))
    function clip(extent: (typeof whole)[number]) {
      return extent.kind === 'packed' ? extent : { ...extent, guest: 40 * MiB, length: 100 }
    }
  })
})

describe('extents in files of their own', () => {
  it.each(['monolithicFlat', 'twoGbMaxExtentSparse', 'twoGbMaxExtentFlat'])('reads %s', async (subformat) => {
    await makeForeign(path(`${subformat}.vmdk`), 'vmdk', content, { subformat })
    await expectDisk(path(`${subformat}.vmdk`), content)
    expect(await inspect(path(`${subformat}.vmdk`))).toMatchObject({ variant: subformat, virtualSize: content.length })
  })

  it('reads three files of 2 GiB as one disk', async () => {
    const image = path('large.vmdk')
    const options = 'subformat=twoGbMaxExtentSparse'
    await runTool('qemu-img', ['create', '-q', '-f', 'vmdk', '-o', options, image, '5G'])
    const writes = ['write -P 3 0 4k', 'write -P 5 2147483136 1m', 'write -P 6 4294966272 64k', 'write -P 4 5g-4k 4k']
    const commands = writes.map((write) => write.replace('5g-4k', String(5 * 2 ** 30 - 4096)))
    await runTool('qemu-io', ['-f', 'vmdk', ...commands.flatMap((command) => ['-c', command]), image])
    await convert({ source: image, to: 'raw', target: `${image}.raw`, threads: 2 })
    await runTool('qemu-img', ['compare', '-f', 'vmdk', '-F', 'raw', image, `${image}.raw`])
    expect((await stat(`${image}.raw`)).size).toBe(5 * 2 ** 30)
  })

  it('reads extents of every kind in one disk, and zeros between them', async () => {
    const pieces = [noise(1, MiB), Buffer.alloc(512 * 7), small, noise(2, 1536), Buffer.alloc(KiB), small, small]
    await writeFile(path('all-f1.vmdk'), Buffer.concat([noise(9, 1024), pieces[0] as Buffer]))
    await writeFile(path('all-s1.vmdk'), sparse({ content: small }))
    await writeFile(path('all-f2.vmdk'), pieces[3] as Buffer)
    await writeFile(path('all-c1.vmdk'), cowd({ content: small }))
    await writeFile(path('all-e1.vmdk'), seSparse({ content: small }))
    const lines = [
      `RW ${MiB / 512} FLAT "all-f1.vmdk" 2`,
      'RW 7 ZERO',
      `RW ${sectors(small)} SPARSE "all-s1.vmdk"`,
      'RW 3 VMFS "all-f2.vmdk"',
      'RW 2 ZERO',
      `RW ${sectors(small)} VMFSSPARSE "all-c1.vmdk"`,
      `RW ${sectors(small)} SESPARSE "all-e1.vmdk"`,
    ]
    await writeFile(path('all.vmdk'), descriptor(lines))
    const found = await toRaw(path('all.vmdk'), path('all.raw'), { threads: 2 })
    expect(firstDifference(found, Buffer.concat(pieces))).toBeUndefined()
  })

  it('reads a VMFS line as QEMU does, and with the offset 0 that QEMU takes for an error', async () => {
    await writeFile(path('esx-flat.vmdk'), small)
    const line = `RW ${sectors(small)} VMFS "esx-flat.vmdk"`
    await writeFile(path('esx.vmdk'), descriptor([line], { createType: 'vmfs' }))
    await expectDisk(path('esx.vmdk'), small)
    await writeFile(path('esx.vmdk'), descriptor([`${line} 0`], { createType: 'vmfs' }))
    await expect(contentByQemu(path('esx.vmdk'), 'vmdk')).rejects.toThrow('Invalid extent line')
    expect(firstDifference(await readDisk(path('esx.vmdk')), small)).toBeUndefined()
  })

  it.each([1, 8])('reads COWD with grains of %i sectors', async (grain) => {
    await writeFile(path('cow-delta.vmdk'), cowd({ content: small, grain }))
    const line = `RW ${sectors(small)} VMFSSPARSE "cow-delta.vmdk"`
    await writeFile(path('cow.vmdk'), descriptor([line], { createType: 'vmfsSparse' }))
    await expectDisk(path('cow.vmdk'), small)
  })

  it('reads seSparse with zero and unmapped grains, over three tables', async () => {
    const disk = Buffer.from(content.subarray(0, 40 * MiB))
    const blank = { zeros: [3, 4, 5000], unmapped: [9, 9000] }
    for (const grain of [...blank.zeros, ...blank.unmapped]) disk.fill(0, grain * 4096, (grain + 1) * 4096)
    await writeFile(path('se-sesparse.vmdk'), seSparse({ content: disk, zeros: blank.zeros }, blank))
    const line = `RW ${sectors(disk)} SESPARSE "se-sesparse.vmdk"`
    await writeFile(path('se.vmdk'), descriptor([line], { createType: 'seSparse' }))
    await expectDisk(path('se.vmdk'), disk)
    expect((await inspect(path('se.vmdk'))).allocation?.zero).toBe(5 * 4096)
  })

  it('reads a header without capacity as the descriptor that it embeds', async () => {
    const text = descriptor([`RW ${sectors(small)} FLAT "hosted-flat.vmdk" 0`])
    const header = Buffer.concat([sparseHeader({ capacity: 0n }), text], 21 * 512)
    const { companions } = memoryCompanions({ 'hosted-flat.vmdk': small })
    const found = await toRaw(header, path('hosted.raw'), { companions })
    expect(firstDifference(found, small)).toBeUndefined()
  })
})

describe('files that a descriptor names', () => {
  const flat = descriptor(['RW 1 FLAT "disk-flat.vmdk" 0', 'RW 1 FLAT "disk-flat.vmdk" 1', 'RW 1 FLAT "other" 0'])
  const files = { 'disk-flat.vmdk': noise(1, 1024), other: noise(2, 512) }

  it('are not opened unless the caller hands them over', async () => {
    await expect(readDisk(flat)).rejects.toMatchObject({ code: 'unsafe-image', found: 'disk-flat.vmdk' })
    expect(await inspect(flat)).toMatchObject({
      virtualSize: 1536,
      dataFile: 'disk-flat.vmdk',
      unreadable: expect.stringContaining('"disk-flat.vmdk"'),
    })
  })

  it('are asked for once each, and closed with the image', async () => {
    const { companions, asked, closed } = memoryCompanions(files)
    const disk = await toRaw(flat, path('gate.raw'), { companions, threads: 2 })
    expect(firstDifference(disk, Buffer.concat(Object.values(files)))).toBeUndefined()
    expect(asked).toEqual(['disk-flat.vmdk', 'other'])
    expect(closed).toEqual(asked)
  })

  it.each([
    { what: 'one is not to be had', given: { 'disk-flat.vmdk': files['disk-flat.vmdk'] }, code: 'unsupported-feature' },
    { what: 'one is too short', given: { ...files, other: Buffer.alloc(5) }, code: 'truncated' },
  ])('are closed when $what', async ({ given, code }) => {
    const { companions, closed } = memoryCompanions(given)
    const walk = async () => extentsOf(await openImage(memorySource(flat), { companions }))
    await expect(walk()).rejects.toMatchObject({ code })
    expect(closed).toEqual(Object.keys(given))
  })

  it.each(['../secret', '/etc/passwd', 'a\\b', '..', 'nbd://host/x'])(
    'are never asked for by a path: %s',
    async (name) => {
      const { companions, asked } = memoryCompanions({ [name]: Buffer.alloc(512) })
      const image = await openImage(memorySource(descriptor([`RW 1 FLAT "${name}" 0`])), { companions })
      expect(image.facts.dataFile).toBe(name)
      expect(asked).toEqual([])
    },
  )

  it('are asked for by names in the encoding that the descriptor states', async () => {
    const text = descriptor(['RW 1 FLAT "M\u00fcller.vmdk"'], { lines: ['encoding="windows-1252"'] })
    const { companions, asked } = memoryCompanions({})
    await openImage(memorySource(Buffer.from(text.toString(), 'latin1')), { companions })
    expect(asked).toEqual(['M\u00fcller.vmdk'])
  })

  it('beside a path are found, by their plain names', async () => {
    await mkdir(path('beside'))
    for (const [name, bytes] of Object.entries(files)) await writeFile(path(`beside/${name}`), bytes)
    await writeFile(path('beside/disk.vmdk'), flat)
    const disk = await readDisk(path('beside/disk.vmdk'))
    expect(firstDifference(disk, Buffer.concat(Object.values(files)))).toBeUndefined()
    await unlink(path('beside/other'))
    await expect(readDisk(path('beside/disk.vmdk'))).rejects.toMatchObject({ code: 'source-unreadable' })
  })

  it('are refused as ciphertext, where the descriptor holds a wrapped key', async () => {
    const text = descriptor(['RW 2 FLAT "disk-flat.vmdk"'], { lines: ['encryptionKeys="vmware:key/list/(x)"'] })
    const image = await openImage(memorySource(text), memoryCompanions(files))
    expect(image.facts.encryption).toMatch(/vSphere/)
    await expect(extentsOf(image)).rejects.toMatchObject({ code: 'unsupported-feature' })
  })
})

describe('a VMDK that lies', () => {
  it.each(vmdkLies)('is refused: $lie', (lie) => expectRefusal(lie, 'vmdk'))

  it.each(extentLies)('is refused by the name of its $type file: $lie', async ({ type, image, code }) => {
    const { companions, closed } = memoryCompanions({ 'part.vmdk': image })
    const text = descriptor([`RW 2048 ${type} "part.vmdk"`])
    const walk = async () => {
      const opened = await openImage(memorySource(text), { companions })
      await extentsOf(opened).finally(opened.close)
    }
    await expect(walk()).rejects.toMatchObject({ code, message: expect.stringContaining('"part.vmdk"') })
    expect(closed).toEqual(['part.vmdk'])
  })

  it('is read by its redundant directory, where a flag says that there is one', async () => {
    const text = descriptor([`RW ${sectors(small)} SPARSE "x"`])
    const lost = { gdOffset: 2n ** 30n, rgdOffset: 24n }
    const image = sparse({ content: small }, { ...lost, flags: 3 }, text)
    expect((await inspect(image)).warnings).toEqual([expect.stringContaining('redundant')])
    expect(firstDifference(await readDisk(image), small)).toBeUndefined()
    await expect(inspect(sparse({ content: small }, lost, text))).rejects.toMatchObject({ code: 'truncated' })
  })
})
