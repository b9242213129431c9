import { readFile, stat } from 'node:fs/promises'
import { beforeAll, describe, expect, it } from 'vitest'
import { convertInChild } from './support/child.ts'
import { sha256 } from './support/convert.ts'
import { type Pattern, writePattern } from './support/pattern.ts'
import { checkImage, createImage, differenceOf, imageInfo, mappedBytes, type QemuFormat } from './support/qemu.ts'
import { tempFolder } from './support/temp-folder.ts'
import { runTool } from './support/tools.ts'

const path = tempFolder()
const MiB = 2 ** 20
const TiB = 2 ** 40
const MOST_MEMORY = 256 * MiB
const MOST_SECONDS = 30

/** A few MiB here and there, the last byte of the disk among them. */
const pattern: Pattern = {
  size: 2 * TiB,
  writes: [0, 3 * 2 ** 30, TiB - 2 ** 20, 2 * TiB - MiB].map((offset, index) => ({
    offset,
    length: MiB,
    content: { kind: 'noise', seed: index + 1 },
  })),
}
const source = path('large.qcow2')

beforeAll(async () => {
  await createImage(source, 'qcow2', pattern.size)
  await writePattern(source, 'qcow2', pattern)
})

describe('a disk of 2 TiB with 4 MiB of data', () => {
  it('becomes a qcow2 in seconds and in little memory', async () => {
    const target = path('large-out.qcow2')
    const { peakMemory, bytesWritten } = await convert({ to: 'qcow2', target })
    expect(peakMemory).toBeLessThan(MOST_MEMORY)
    expect(bytesWritten).toBeLessThan(8 * MiB)
    expect(await mappedBytes(target, 'qcow2')).toBe(4 * MiB)
    expect(await checkImage(target)).toEqual({ errors: 0, leaks: 0, corruptions: 0 })
    expect(await differenceOf([source, 'qcow2'], [target, 'qcow2'])).toBeUndefined()
  })

  it('becomes a compressed qcow2 in seconds and in little memory', async () => {
    const target = path('large-packed.qcow2')
    const { peakMemory } = await convert({ to: 'qcow2', options: { compression: 'zlib' }, target })
    expect(peakMemory).toBeLessThan(MOST_MEMORY)
    expect(await checkImage(target)).toEqual({ errors: 0, leaks: 0, corruptions: 0 })
    expect(await differenceOf([source, 'qcow2'], [target, 'qcow2'])).toBeUndefined()
  })

  it('becomes a raw file with holes in seconds and in little memory', async () => {
    const target = path('large.raw')
    const { peakMemory, bytesWritten } = await convert({ to: 'raw', target })
    expect(peakMemory).toBeLessThan(MOST_MEMORY)
    expect(bytesWritten).toBe(2 * TiB)
    const { size, blocks } = await stat(target)
    expect(size).toBe(2 * TiB)
    expect(blocks * 512).toBeLessThan(8 * MiB)
    expect(await differenceOf([source, 'qcow2'], [target, 'raw'])).toBeUndefined()
  })

  it.each(['streamOptimized', 'monolithicSparse'])('becomes a %s VMDK, in little memory', async (subformat) => {
    const target = path('large.vmdk')
    const { peakMemory } = await convert({ to: 'vmdk', options: { subformat }, target })
    expect(peakMemory).toBeLessThan(MOST_MEMORY)
    expect((await imageInfo(target, 'vmdk'))['virtual-size']).toBe(2 * TiB)
    // QEMU compares a VMDK grain by grain, which takes it 15 seconds.
    for (const { offset } of [...pattern.writes, { offset: 5 * 2 ** 30 }]) {
      expect(await readAt(target, 'vmdk', offset)).toEqual(await readAt(source, 'qcow2', offset))
    }
  })

  it.each(['zvhd', 'zvhd2'])('becomes a %s in little memory, and comes back whole from it', async (to) => {
    const [target, back] = [path(`large.${to}`), path(`${to}-back.qcow2`)]
    const { peakMemory, bytesWritten } = await convert({ to, target })
    expect(peakMemory).toBeLessThan(MOST_MEMORY)
    expect(bytesWritten).toBeLessThan(8 * MiB)
    expect((await convert({ source: target, to: 'qcow2', target: back })).peakMemory).toBeLessThan(MOST_MEMORY)
    expect(await differenceOf([source, 'qcow2'], [back, 'qcow2'])).toBeUndefined()
  })

  it.each(['dynamic', 'fixed'])('is more than a %s VHD holds', async (subformat) => {
    const { error } = await convert({ to: 'vhd', options: { subformat }, target: path('large.vhd') })
    expect(error).toMatchObject({ code: 'target-unfit', found: 2 * TiB, hint: expect.stringContaining('qcow2') })
  })

  it('is more than a qcow2 with clusters of 512 bytes holds', async () => {
    const { error } = await convert({ to: 'qcow2', options: { cluster_size: 512 }, target: path('large-512.qcow2') })
    expect(error).toMatchObject({ code: 'target-unfit', hint: expect.stringContaining('cluster_size') })
  })
})

describe('a disk of 2040 GiB', () => {
  it('is as large as a VHD gets, and comes back whole from one', async () => {
    const [largest, target, back] = [path('largest.qcow2'), path('largest.vhd'), path('back.qcow2')]
    const size = 2040 * 2 ** 30
    const writes = pattern.writes.map((write) => ({ ...write, offset: Math.min(write.offset, size - MiB) }))
    await createImage(largest, 'qcow2', size)
    await writePattern(largest, 'qcow2', { size, writes })
    const { error, peakMemory } = await convert({ source: largest, to: 'vhd', target })
    expect(error).toBeUndefined()
    expect(peakMemory).toBeLessThan(MOST_MEMORY)
    expect((await imageInfo(target, 'vpc'))['virtual-size']).toBe(size)
    await convert({ source: target, to: 'qcow2', target: back })
    expect(await differenceOf([largest, 'qcow2'], [back, 'qcow2'])).toBeUndefined()
  })
})

/** One MiB of a disk's content, by QEMU, as a digest. */
async function readAt(image: string, format: QemuFormat, offset: number): Promise<string> {
  const [from, to] = [`if=${image}`, `of=${path('read')}`]
  await runTool('qemu-img', ['dd', '-f', format, '-O', 'raw', 'bs=1M', 'count=1', `skip=${offset / MiB}`, from, to])
  return sha256(await readFile(path('read')))
}

function convert(options: Readonly<Record<string, unknown>>) {
  return convertInChild({ source, threads: 2, ...options }, { timeoutMs: MOST_SECONDS * 1000 })
}
