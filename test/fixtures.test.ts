import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gunzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { convert, convertToStream, inspect } from '../src/index.ts'
import { convertImage, imageInfo } from './support/qemu.ts'
import { tempFolder } from './support/temp-folder.ts'

interface Fixture {
  readonly virtualSize: number
  /** Of the disk's content, from a reader that is not ours. */
  readonly sha256: string
  /** CRC-32C of our conversions: a change of one byte in what is written shows here. */
  readonly outputs: Readonly<Record<'qcow2' | 'vhd', string>>
}

const folder = fileURLToPath(new URL('../fixtures', import.meta.url))
const manifest = JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8')) as Record<string, Fixture>
/** Whatever lies in the folder and is not about it. What is hostile has a folder and a test of its own. */
const found = readdirSync(folder).filter((name) => !/^hostile$|\.(md|sh|mjs|json)$/.test(name))
const path = tempFolder()

describe('the folder of fixtures', () => {
  it('and its manifest name the same images: `node fixtures/record.mjs` takes up new ones', () => {
    expect(found.length).toBeGreaterThan(0)
    expect(Object.keys(manifest).sort()).toEqual([...found].sort())
  })

  it('says in its README what each of them is', () => {
    const readme = readFileSync(join(folder, 'README.md'), 'utf8')
    for (const name of found) expect(readme).toContain(`\`${name}\``)
  })
})

describe.each(found)('%s', (name) => {
  const image = unpacked(name)
  const recorded = () => manifest[name] as Fixture

  it('opens, and shows a disk of the size that was recorded', async () => {
    expect(await inspect(image)).toMatchObject({ virtualSize: recorded().virtualSize, violations: [] })
  })

  it('holds what was recorded of it', async () => {
    const { stream, result } = await convertToStream({ source: image, to: 'raw', threads: 2 })
    const hash = createHash('sha256')
    for await (const chunk of stream) hash.update(chunk as Buffer)
    await result
    expect(hash.digest('hex')).toBe(recorded().sha256)
  })

  it.each(['qcow2', 'vhd'] as const)('gives the same bytes as ever as %s', async (to) => {
    const { crc32c } = await convert({ source: image, to, target: path(`${name}.${to}`), threads: 2 })
    expect(crc32c).toBe(recorded().outputs[to])
  })
})

/** QEMU's word for what is recorded of images that it reads: what the manifest says was not made up here. */
describe.each(found.filter((name) => /\.(qcow2|vhd)(\.gz)?$/.test(name)))('%s', (name) => {
  it('holds the same to QEMU', async () => {
    const format = name.includes('.vhd') ? 'vpc' : 'qcow2'
    const disk = path(`${name}.raw`)
    await convertImage([unpacked(name), format], [disk, 'raw'])
    expect((await imageInfo(disk, 'raw'))['virtual-size']).toBe(manifest[name]?.virtualSize)
    expect(createHash('sha256').update(readFileSync(disk)).digest('hex')).toBe(manifest[name]?.sha256)
  })
})

function unpacked(name: string): string {
  const file = join(folder, name)
  if (!name.endsWith('.gz')) return file
  const plain = path(name.slice(0, -3))
  writeFileSync(plain, gunzipSync(readFileSync(file)))
  return plain
}
