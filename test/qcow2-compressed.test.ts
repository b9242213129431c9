import { describe, expect, it } from 'vitest'
import { convert, convertToStream } from '../src/index.ts'
import { firstDifference, readDisk, sha256 } from './support/convert.ts'
import { contentOf, fullPattern, makePattern } from './support/pattern.ts'
import { checkImage, differenceOf, imageInfo } from './support/qemu.ts'
import { tempFolder } from './support/temp-folder.ts'

const path = tempFolder()
const VARIANTS = [
  { compression: 'zlib' },
  { compression: 'zlib', compat: '0.10' },
  { compression: 'zlib', cluster_size: 4096, level: 9 },
  { compression: 'zlib', cluster_size: 2 ** 21 },
  { compression: 'zstd' },
  { compression: 'zstd', cluster_size: 2 ** 20 },
] as const
const SIZES = [512, 5 * 2 ** 20 + 512, 33 * 2 ** 20 + 4096 + 512]

describe.each(VARIANTS)('compressed qcow2 %o', (options) => {
  const name = Object.values(options).join('-')

  it.each(SIZES)('a disk of %d bytes is the same to qemu-img and to our reader', async (size) => {
    const disk = contentOf(makePattern(size + 1, size))
    const [raw, target] = [path(`${name}-${size}.raw`), path(`${name}-${size}.qcow2`)]
    await convert({ source: disk, from: 'raw', to: 'raw', target: raw, threads: 0 })
    await convert({ source: disk, from: 'raw', to: 'qcow2', options, target, threads: 2 })
    expect(await checkImage(target)).toEqual({ errors: 0, leaks: 0, corruptions: 0 })
    expect(await differenceOf([target, 'qcow2'], [raw, 'raw'])).toBeUndefined()
    expect((await imageInfo(target, 'qcow2'))['virtual-size']).toBe(size)
    expect(firstDifference(await readDisk(target), disk)).toBeUndefined()
  })

  it('noise, which does not shrink, is whole', async () => {
    const size = 5 * 2 ** 20
    const disk = contentOf(fullPattern(11, size))
    const target = path(`${name}-noise.qcow2`)
    await convert({ source: disk, from: 'raw', to: 'qcow2', options, target, threads: 0 })
    expect(await checkImage(target)).toEqual({ errors: 0, leaks: 0, corruptions: 0 })
    expect(firstDifference(await readDisk(target), disk)).toBeUndefined()
  })

  it('gives the same bytes with any number of threads', async () => {
    const source = contentOf(makePattern(5, 9 * 2 ** 20))
    const sums = await Promise.all(
      [0, 1, 2].map(async (threads) => {
        const target = path(`${name}-${threads}.qcow2`)
        const { crc32c } = await convert({ source, from: 'raw', to: 'qcow2', options, target, threads })
        return crc32c
      }),
    )
    expect(new Set(sums).size).toBe(1)
  })
})

it('an empty disk and a disk of zeros are whole', async () => {
  for (const size of [0, 20 * 2 ** 20]) {
    const target = path(`zero-${size}.qcow2`)
    const source = new Uint8Array(size)
    await convert({ source, from: 'raw', to: 'qcow2', options: { compression: 'zlib' }, target, threads: 0 })
    expect(await checkImage(target)).toEqual({ errors: 0, leaks: 0, corruptions: 0 })
    expect(sha256(await readDisk(target))).toBe(sha256(Buffer.alloc(size)))
  }
})

it('is refused for a stream, with the reason: its header is known last', async () => {
  const { stream, result } = await convertToStream({
    source: new Uint8Array(2 ** 20).fill(1),
    from: 'raw',
    to: 'qcow2',
    options: { compression: 'zlib' },
    threads: 0,
  })
  stream.on('error', () => undefined).resume()
  await expect(result).rejects.toMatchObject({ code: 'target-unfit', message: expect.stringContaining('header') })
})

it('the checksum that is returned is that of the file with its late head', async () => {
  const { crc32c } = await import('../src/bytes/crc32c.ts')
  const { readFile } = await import('node:fs/promises')
  const target = path('late.qcow2')
  const source = contentOf(makePattern(8, 7 * 2 ** 20))
  const result = await convert({ source, from: 'raw', to: 'qcow2', options: { compression: 'zlib' }, target })
  expect(result.crc32c).toBe(
    crc32c(await readFile(target))
      .toString(16)
      .padStart(8, '0'),
  )
})
