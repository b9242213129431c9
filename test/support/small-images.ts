import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { FormatName } from '../../src/index.ts'
import { contentOf, noise, type Pattern, writePattern } from './pattern.ts'
import { convertImage, createImage, type QemuFormat, takeSnapshot } from './qemu.ts'
import { buildVhd } from './vhd-builder.ts'

/** A valid image of a few KiB, to be damaged. */
export interface SmallImage {
  readonly name: string
  readonly format: FormatName
  readonly bytes: Buffer
}

/** Two runs of data, a written zero and holes, on 300 KiB. */
const pattern: Pattern = {
  size: 300 * 1024,
  writes: [
    { offset: 100, length: 5000, content: { kind: 'noise', seed: 1 } },
    { offset: 40_000, length: 9000, content: { kind: 'byte', value: 0x61 } },
    { offset: 120_000, length: 4096, content: { kind: 'zeroed' } },
    { offset: 306_000, length: 1200, content: { kind: 'byte', value: 0x62 } },
  ],
}

/** What the images hold. */
export const smallContent = (): Buffer => contentOf(pattern)

/** One of each kind that is read here. */
export async function makeSmallImages(): Promise<SmallImage[]> {
  return [
    await byQemu('qcow2 v3', 'qcow2', { cluster_size: 4096 }),
    await byQemu('qcow2 v2', 'qcow2', { cluster_size: 512, compat: '0.10' }),
    await byQemu('qcow2 with a snapshot', 'qcow2', { cluster_size: 1024 }, (path) => takeSnapshot(path, 'before')),
    await compressed(),
    { name: 'dynamic VHD', format: 'vhd', bytes: smallVhd() },
    await byQemu('fixed VHD', 'vpc', { subformat: 'fixed', force_size: 'on' }),
  ]
}

/** QEMU has no blocks of less than 2 MiB. */
function smallVhd(): Buffer {
  const blockSize = 8192
  const blocks = [37, 4, 0].map((block) => ({ block, data: noise(block + 1, blockSize) }))
  return buildVhd({ size: pattern.size, blockSize, blocks })
}

async function byQemu(
  name: string,
  format: QemuFormat,
  options: Record<string, string | number>,
  further?: (path: string) => Promise<void>,
): Promise<SmallImage> {
  const bytes = await inFolder(async (path) => {
    await createImage(path('image'), format, pattern.size, { options })
    await writePattern(path('image'), format, pattern)
    await further?.(path('image'))
    return readFileSync(path('image'))
  })
  return { name, format: format === 'vpc' ? 'vhd' : 'qcow2', bytes }
}

async function compressed(): Promise<SmallImage> {
  const bytes = await inFolder(async (path) => {
    writeFileSync(path('raw'), contentOf(pattern))
    await convertImage([path('raw'), 'raw'], [path('image'), 'qcow2'], {
      compress: true,
      options: { cluster_size: 4096 },
    })
    return readFileSync(path('image'))
  })
  return { name: 'compressed qcow2', format: 'qcow2', bytes }
}

async function inFolder<T>(work: (path: (name: string) => string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'diskferry-test-'))
  try {
    return await work((name) => join(folder, name))
  } finally {
    rmSync(folder, { recursive: true })
  }
}
