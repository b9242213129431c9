import { readdir, readFile, writeFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { convert, type WriterOptions } from '../src/index.ts'
import { sha256 } from './support/convert.ts'
import { contentOf, makePattern } from './support/pattern.ts'
import { tempFolder } from './support/temp-folder.ts'
import { runTool } from './support/tools.ts'

/** Readers that share nothing with QEMU: 7-Zip and the libyal tools. */
const path = tempFolder()
const size = 9 * 2 ** 20 + 512
const disk = contentOf(makePattern(21, size))

async function write<T extends keyof WriterOptions>(name: string, to: T, options: WriterOptions[T]): Promise<string> {
  const target = path(name)
  await convert({ source: disk, from: 'raw', to, options, target, threads: 0 })
  return target
}

async function by7zip(image: string): Promise<Buffer> {
  await runTool('7z', ['e', '-y', `-o${image}.unpacked`, image])
  const [name = 'nothing'] = await readdir(`${image}.unpacked`)
  return readFile(`${image}.unpacked/${name}`)
}

const vhds = [
  { subformat: 'dynamic', block_size: 2 ** 21 },
  { subformat: 'dynamic', block_size: 2 ** 19 },
  { subformat: 'fixed' },
] as const
const qcow2s = [{ compat: '1.1' }, { compat: '0.10' }, { cluster_size: 2 ** 12 }, { cluster_size: 2 ** 21 }] as const

describe('7-Zip', () => {
  it.each(vhds)('finds the same disk in a VHD with %j', async (options) => {
    const image = await write(`7zip ${Object.values(options).join('-')}.vhd`, 'vhd', options)
    expect(sha256(await by7zip(image))).toBe(sha256(disk))
  })

  it.each(qcow2s)('finds the same disk in a qcow2 with %j', async (options) => {
    const image = await write(`7zip ${Object.values(options).join('-')}.qcow2`, 'qcow2', options)
    expect(sha256(await by7zip(image))).toBe(sha256(disk))
  })
})

describe('libvhdi', () => {
  it.each(vhds)('takes a VHD with %j, and gives its exact size', async (options) => {
    const image = await write(`vhdi ${Object.values(options).join('-')}.vhd`, 'vhd', options)
    const { stdout } = await runTool('vhdiinfo', [image])
    expect(stdout).toContain(`(${size} bytes)`)
    expect(stdout).toMatch(new RegExp(`Disk type\\s+: ${options.subformat}`, 'i'))
  })
})

describe('libqcow', () => {
  it.each(qcow2s)('takes a qcow2 with %j, and gives its exact size', async (options) => {
    const image = await write(`qcow ${Object.values(options).join('-')}.qcow2`, 'qcow2', options)
    const { stdout } = await runTool('qcowinfo', [image])
    expect(stdout).toContain(`(${size} bytes)`)
  })
})

it('the oracle notices a byte that differs', async () => {
  const image = await write('changed.vhd', 'vhd', { subformat: 'fixed' })
  const bytes = await readFile(image)
  bytes.writeUInt8(bytes.readUInt8(0) ^ 1, 0)
  await writeFile(image, bytes)
  expect(sha256(await by7zip(image))).not.toBe(sha256(disk))
})
