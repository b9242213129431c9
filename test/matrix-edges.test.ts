import { stat, writeFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { convert, inspect } from '../src/index.ts'
import { convertToBytes, readDisk } from './support/convert.ts'
import { makeSource, sourceKinds, targetKinds } from './support/matrix.ts'
import { contentOf, fullPattern, type Pattern } from './support/pattern.ts'
import { checkImage, createImage, differenceOf, imageInfo, mappedBytes } from './support/qemu.ts'
import { tempFolder } from './support/temp-folder.ts'

const path = tempFolder()
const MiB = 2 ** 20

/** Stores zeros as data, over the whole disk. */
const zeros = (size: number): Pattern => ({
  size,
  writes: [{ offset: 0, length: size, content: { kind: 'byte', value: 0 } }],
})

const disks: readonly { name: string; pattern: Pattern }[] = [
  { name: 'one sector', pattern: fullPattern(1, 512) },
  { name: 'nothing but written zeros', pattern: zeros(5 * MiB + 512) },
  { name: 'no zeros at all', pattern: fullPattern(2, 9 * MiB + 512) },
  { name: 'nothing written', pattern: { size: 7 * MiB, writes: [] } },
]
const exactSources = sourceKinds.filter(({ name }) => !name.includes('geometry'))

for (const { name, pattern } of disks) {
  describe(`a disk of ${name}`, () => {
    const expected = path(`${name}.expected`)

    it.each(exactSources)('from a $name becomes the same disk in every format', async (source) => {
      const image = path(`${name} ${source.name}`)
      await makeSource(source, image, pattern)
      await writeFile(expected, contentOf(pattern))
      for (const { to, options, format, name: kind } of targetKinds) {
        const target = `${image} as ${kind}`
        await convert({ source: image, to, options, target, threads: 0 })
        expect(await differenceOf([expected, 'raw'], [target, format])).toBeUndefined()
        expect((await imageInfo(target, format))['virtual-size']).toBe(pattern.size)
        if (format === 'qcow2') expect(await checkImage(target)).toEqual({ errors: 0, leaks: 0, corruptions: 0 })
      }
    })
  })
}

describe('a disk of 0 bytes', () => {
  it('becomes an empty raw file', async () => {
    expect(await convertToBytes({ source: Buffer.alloc(0), to: 'raw' })).toHaveLength(0)
    await convert({ source: Buffer.alloc(0), to: 'raw', target: path('empty.raw'), threads: 2 })
    expect((await stat(path('empty.raw'))).size).toBe(0)
  })

  it.each(['1.1', '0.10'] as const)('becomes a whole qcow2 with compat %s', async (compat) => {
    const target = path(`empty ${compat}.qcow2`)
    await convert({ source: Buffer.alloc(0), to: 'qcow2', options: { compat }, target, threads: 0 })
    expect(await checkImage(target)).toEqual({ errors: 0, leaks: 0, corruptions: 0 })
    expect((await imageInfo(target, 'qcow2'))['virtual-size']).toBe(0)
    expect(await readDisk(target)).toHaveLength(0)
  })

  it.each(['dynamic', 'fixed'] as const)('becomes a %s VHD that is read back', async (subformat) => {
    const bytes = await convertToBytes({ source: Buffer.alloc(0), to: 'vhd', options: { subformat } })
    expect(await inspect(bytes)).toMatchObject({ format: 'vhd', variant: subformat, virtualSize: 0 })
    expect(await readDisk(bytes)).toHaveLength(0)
  })

  it('is read from the qcow2 that QEMU makes of it', async () => {
    await createImage(path('made.qcow2'), 'qcow2', 0)
    expect(await readDisk(path('made.qcow2'))).toHaveLength(0)
  })
})

describe('what is stored', () => {
  const image = path('written zeros.qcow2')

  it('leaves written zeros out, and keeps them when asked to', async () => {
    await makeSource({ name: 'qcow2', format: 'qcow2' }, image, zeros(4 * MiB))
    const [dropped, kept] = [path('dropped.qcow2'), path('kept.qcow2')]
    await convert({ source: image, to: 'qcow2', target: dropped, threads: 2 })
    await convert({ source: image, to: 'qcow2', target: kept, keepZeros: true, threads: 2 })
    expect(await mappedBytes(dropped, 'qcow2')).toBe(0)
    expect(await mappedBytes(kept, 'qcow2')).toBe(4 * MiB)
    expect(await differenceOf([dropped, 'qcow2'], [kept, 'qcow2'])).toBeUndefined()
  })

  it('keeps no more than what the source stores when it keeps zeros', async () => {
    const pattern: Pattern = {
      size: 8 * MiB,
      writes: [
        { offset: 3 * MiB, length: 2 ** 16, content: { kind: 'byte', value: 0 } },
        { offset: 5 * MiB, length: 2 ** 16, content: { kind: 'zeroed' } },
      ],
    }
    const [source, target] = [path('sparse.qcow2'), path('sparse-kept.vhd')]
    await makeSource({ name: 'qcow2', format: 'qcow2' }, source, pattern)
    await convert({ source, to: 'vhd', target, keepZeros: true, threads: 0 })
    expect(await inspect(target)).toMatchObject({ allocation: { stored: 2 * MiB, hole: 6 * MiB } })
  })

  it('leaves a hole in the file for each run of zeros of a raw disk', async () => {
    const pattern: Pattern = {
      size: 64 * MiB,
      writes: [{ offset: 32 * MiB, length: 4096, content: { kind: 'noise', seed: 3 } }],
    }
    const [source, target] = [path('holes.qcow2'), path('holes.raw')]
    await makeSource({ name: 'qcow2', format: 'qcow2' }, source, pattern)
    await convert({ source, to: 'raw', target, threads: 2 })
    expect((await stat(target)).blocks * 512).toBeLessThan(MiB)
    expect(await differenceOf([source, 'qcow2'], [target, 'raw'])).toBeUndefined()
  })
})
