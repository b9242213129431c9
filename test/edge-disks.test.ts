import { readFile, stat, writeFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { convert, type WriterOptions } from '../src/index.ts'
import { readDisk, sha256 } from './support/convert.ts'
import { noise } from './support/pattern.ts'
import { checkImage, differenceOf, type QemuFormat } from './support/qemu.ts'
import { sample } from './support/sample.ts'
import { tempFolder } from './support/temp-folder.ts'
import { decodeZvhd, decodeZvhd2 } from './support/zvhd-decoder.ts'

const path = tempFolder()
const MiB = 2 ** 20

/** Who says what is in the target: QEMU, or a decoder of the tests' own. */
type Oracle = QemuFormat | ((file: Buffer) => { readonly disk: Buffer })

interface Variant {
  readonly to: keyof WriterOptions
  readonly options: Readonly<Record<string, string | number>>
  readonly oracle: Oracle
}

const variants: readonly Variant[] = [
  { to: 'raw', options: {}, oracle: 'raw' },
  { to: 'qcow2', options: {}, oracle: 'qcow2' },
  { to: 'qcow2', options: { compat: '0.10' }, oracle: 'qcow2' },
  { to: 'qcow2', options: { compression: 'zlib' }, oracle: 'qcow2' },
  { to: 'qcow2', options: { compression: 'zstd' }, oracle: 'qcow2' },
  { to: 'vhd', options: { subformat: 'fixed' }, oracle: 'vpc' },
  { to: 'vhd', options: { subformat: 'dynamic' }, oracle: 'vpc' },
  { to: 'vmdk', options: { subformat: 'streamOptimized' }, oracle: 'vmdk' },
  { to: 'vmdk', options: { subformat: 'monolithicSparse' }, oracle: 'vmdk' },
  { to: 'zvhd', options: {}, oracle: decodeZvhd },
  { to: 'zvhd2', options: {}, oracle: decodeZvhd2 },
  { to: 'zvhd2', options: { compression: 'zlib' }, oracle: decodeZvhd2 },
]

const disks: readonly { readonly name: string; readonly bytes: Buffer }[] = [
  { name: '512 bytes', bytes: noise(1, 512) },
  { name: '1000 bytes, which is no whole sector', bytes: noise(2, 1000) },
  { name: 'nothing but zeros', bytes: Buffer.alloc(5 * MiB + 512) },
  { name: 'no zeros at all', bytes: noise(3, 4 * MiB) },
  { name: 'a partial last block', bytes: Buffer.concat([Buffer.alloc(3 * MiB), noise(4, 70_144)]) },
]

describe.each(sample(variants, 2))('$to $options', ({ to, options, oracle }) => {
  it.each(disks)('holds a disk of $name', async ({ name, bytes }) => {
    const target = path(`${to} ${Object.values(options).join(' ')} ${name}`)
    const { virtualSize } = await convert({ source: bytes, from: 'raw', to, options, target, threads: 0 })
    const expected = Buffer.alloc(Math.ceil(bytes.length / 512) * 512)
    bytes.copy(expected)
    expect(virtualSize).toBe(expected.length)
    if (typeof oracle === 'function') {
      expect(sha256(oracle(await readFile(target)).disk)).toBe(sha256(expected))
      return
    }
    await writeFile(path('expected'), expected)
    expect(await differenceOf([path('expected'), 'raw'], [target, oracle])).toBeUndefined()
    if (oracle === 'qcow2') expect(await checkImage(target)).toEqual({ errors: 0, leaks: 0, corruptions: 0 })
  })

  it('holds a disk of 0 bytes, which is read back', async () => {
    const target = path(`${to} ${Object.values(options).join(' ')} 0`)
    await convert({ source: Buffer.alloc(0), from: 'raw', to, options, target, threads: 0 })
    expect(await readDisk(target, to)).toHaveLength(0)
    if (to === 'raw') expect((await stat(target)).size).toBe(0)
    if (typeof oracle === 'function') expect(oracle(await readFile(target)).disk).toHaveLength(0)
  })
})
