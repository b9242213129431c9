import { readFile, stat } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { convert, inspect } from '../src/index.ts'
import { convertToBytes } from './support/convert.ts'
import { patched, u32, u64, withBits } from './support/patch.ts'
import { createEncrypted, createImage, qemuIo } from './support/qemu.ts'
import { tempFolder } from './support/temp-folder.ts'
import { buildVhd } from './support/vhd-builder.ts'

const path = tempFolder()
const size = 2 ** 20

let targets = 0

async function refusalOf(source: string | Uint8Array): Promise<unknown> {
  const target = path(`refused ${targets++}.raw`)
  const error = await convert({ source, to: 'raw', target, threads: 0 }).catch((reason: unknown) => reason)
  await expect(stat(target)).rejects.toThrow('ENOENT')
  return error
}

async function makeImage(name: string, options: Record<string, string>, extra: string[] = []): Promise<string> {
  await createImage(path(name), 'qcow2', size, { options, extra })
  return path(name)
}

describe('files that an image names', () => {
  it('refuses a backing file by its name, though the file is there', async () => {
    await createImage(path('base.qcow2'), 'qcow2', size)
    await qemuIo(path('base.qcow2'), 'qcow2', ['write -q -P 1 0 64k'])
    const image = await makeImage('overlay.qcow2', {}, ['-b', path('base.qcow2'), '-F', 'qcow2'])
    expect(await refusalOf(image)).toMatchObject({ code: 'unsafe-image', found: path('base.qcow2') })
    expect(await inspect(image)).toMatchObject({
      backingFile: path('base.qcow2'),
      allocation: { parent: size },
      violations: [{ rule: 'no-backing-file', found: path('base.qcow2') }],
    })
  })

  it('refuses an external data file by its name', async () => {
    const image = await makeImage('data.qcow2', { data_file: path('guest.data') })
    expect(await refusalOf(image)).toMatchObject({ code: 'unsafe-image', found: path('guest.data') })
    expect(await inspect(image)).toMatchObject({ dataFile: path('guest.data') })
  })

  it('shows no escape byte of such a name', async () => {
    const name = '/tmp/\x1b[31mred'
    const header = await readFile(await makeImage('plain.qcow2', {}))
    const named = patched(patched(header, 8, u64(0x8000n)), 16, u32(name.length))
    const error = await refusalOf(patched(named, 0x8000, Buffer.from(name)))
    expect(error).toMatchObject({ code: 'unsafe-image', found: name })
    expect((error as Error).message).not.toContain('\x1b')
  })

  it('refuses a differencing VHD by the name of its parent', async () => {
    const image = buildVhd({ size, blockSize: 2 ** 21, diskType: 4, parent: 'parent disk.vhd', blocks: [] })
    expect(await refusalOf(image)).toMatchObject({ code: 'unsafe-image', found: 'parent disk.vhd' })
    expect(await inspect(image)).toMatchObject({ variant: 'differencing', backingFile: 'parent disk.vhd' })
  })
})

describe('encryption', () => {
  it.each(['LUKS', 'AES'])('refuses %s by its name, and writes no ciphertext', async (method) => {
    await createEncrypted(path(`${method}.qcow2`), method === 'LUKS' ? 'luks' : 'aes', size)
    expect(await refusalOf(path(`${method}.qcow2`))).toMatchObject({ code: 'unsafe-image', found: method })
    expect(await inspect(path(`${method}.qcow2`))).toMatchObject({ encryption: method })
  })
})

describe('features', () => {
  it('refuses a compression type that nobody knows', async () => {
    const image = await readFile(await makeImage('zstd.qcow2', { compression_type: 'zstd' }))
    expect(await refusalOf(patched(image, 104, [2]))).toMatchObject({ code: 'unsupported-feature', found: 2 })
  })

  it.each([5, 31, 32, 63])('refuses incompatible bit %i, which nobody knows, by its number', async (bit) => {
    const image = await readFile(await makeImage(`bit ${bit}.qcow2`, {}))
    const marked = withBits(image, 79 - Math.floor(bit / 8), 1 << (bit % 8))
    expect(await refusalOf(marked)).toMatchObject({ code: 'unsupported-feature', found: `bit ${bit}`, offset: 72 })
    await expect(inspect(marked)).rejects.toMatchObject({ code: 'unsupported-feature' })
  })

  it.each([0, 4, 2 ** 31])('refuses version %i of qcow2', async (version) => {
    const image = patched(await readFile(await makeImage(`version ${version}.qcow2`, {})), 4, u32(version))
    expect(await refusalOf(image)).toMatchObject({ code: 'unsupported-format', found: version, offset: 4 })
  })

  it('takes compatible and autoclear bits that it does not know', async () => {
    const image = await readFile(await makeImage('compatible.qcow2', {}))
    const marked = withBits(withBits(image, 80, 0x80), 95, 0x80)
    expect(await convertToBytes({ source: marked, to: 'raw' })).toHaveLength(size)
  })

  it.each([0, 5, 6])('refuses VHD disk type %i', async (diskType) => {
    const image = buildVhd({ size, blockSize: 2 ** 21, diskType, blocks: [] })
    expect(await refusalOf(image)).toMatchObject({ code: 'unsupported-feature', found: diskType })
  })

  it('refuses version 2 of VHD', async () => {
    const image = buildVhd({ size, blockSize: 2 ** 21, blocks: [], version: 0x00020000 })
    expect(await refusalOf(image)).toMatchObject({ code: 'unsupported-feature', found: '0x20000' })
  })
})
