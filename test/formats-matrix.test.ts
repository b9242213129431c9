import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { beforeAll, describe, expect, it } from 'vitest'
import { convert, type WriterOptions } from '../src/index.ts'
import { firstDifference } from './support/convert.ts'
import { contentOf, makePattern } from './support/pattern.ts'
import { checkImage, differenceOf, type QemuFormat } from './support/qemu.ts'
import { sample } from './support/sample.ts'
import { tempFolder } from './support/temp-folder.ts'
import { runTool } from './support/tools.ts'
import { decodeZvhd, decodeZvhd2 } from './support/zvhd-decoder.ts'

/**
 * Everything that can be read, made by QEMU, into everything that can be written, read by QEMU or, what that can't, by
 * the tests' own decoders. The matrix of raw, qcow2 and VHD with more sizes is in matrix.test.ts.
 */
const path = tempFolder()
const SIZE = 6 * 2 ** 20 + 4096 + 512
const disk = contentOf(makePattern(77, SIZE))
const plain = path('plain.raw')

/** Arguments of `qemu-img convert` that make each variant. */
const SOURCES: Readonly<Record<string, readonly string[]>> = {
  'qcow2 zstd': ['-c', '-O', 'qcow2', '-o', 'compression_type=zstd'],
  'qcow2 extended L2': ['-O', 'qcow2', '-o', 'extended_l2=on'],
  'vmdk monolithicSparse': ['-O', 'vmdk', '-o', 'subformat=monolithicSparse'],
  'vmdk streamOptimized': ['-O', 'vmdk', '-o', 'subformat=streamOptimized'],
  'vmdk monolithicFlat': ['-O', 'vmdk', '-o', 'subformat=monolithicFlat'],
  'vmdk twoGbMaxExtentSparse': ['-O', 'vmdk', '-o', 'subformat=twoGbMaxExtentSparse'],
  'vmdk twoGbMaxExtentFlat': ['-O', 'vmdk', '-o', 'subformat=twoGbMaxExtentFlat'],
  'vhdx dynamic': ['-O', 'vhdx'],
  'vhdx fixed': ['-O', 'vhdx', '-o', 'subformat=fixed'],
  'vdi dynamic': ['-O', 'vdi'],
  parallels: ['-O', 'parallels'],
  'vdi static': ['-O', 'vdi', '-o', 'static=on'],
}

interface TargetVariant {
  readonly to: keyof WriterOptions
  readonly options: Readonly<Record<string, string | number>>
  readonly qemu?: QemuFormat
}

const TARGETS: Readonly<Record<string, TargetVariant>> = {
  raw: { to: 'raw', options: {}, qemu: 'raw' },
  qcow2: { to: 'qcow2', options: {}, qemu: 'qcow2' },
  'qcow2 zlib': { to: 'qcow2', options: { compression: 'zlib' }, qemu: 'qcow2' },
  'qcow2 zstd': { to: 'qcow2', options: { compression: 'zstd' }, qemu: 'qcow2' },
  'vhd dynamic': { to: 'vhd', options: {}, qemu: 'vpc' },
  'vhd fixed': { to: 'vhd', options: { subformat: 'fixed' }, qemu: 'vpc' },
  'vmdk streamOptimized': { to: 'vmdk', options: {}, qemu: 'vmdk' },
  'vmdk monolithicSparse': { to: 'vmdk', options: { subformat: 'monolithicSparse' }, qemu: 'vmdk' },
  zvhd: { to: 'zvhd', options: {} },
  'zvhd2 zstd': { to: 'zvhd2', options: {} },
  'zvhd2 zlib': { to: 'zvhd2', options: { compression: 'zlib' } },
}

beforeAll(() => writeFile(plain, disk))

async function makeSource(name: string): Promise<string> {
  const folder = path(name.replaceAll(' ', '-'))
  await mkdir(folder, { recursive: true })
  await runTool('qemu-img', ['convert', '-f', 'raw', ...(SOURCES[name] ?? []), plain, `${folder}/image`])
  return `${folder}/image`
}

/** The guest's bytes that a target holds, to someone else. Formats in whole mebibytes hold zeros behind the disk. */
async function differenceToOthers(file: string, { to, qemu }: TargetVariant): Promise<string | undefined> {
  if (qemu !== undefined) return differenceOf([file, qemu], [plain, 'raw'])
  const decode = to === 'zvhd' ? decodeZvhd : decodeZvhd2
  const { disk: found } = decode(await readFile(file))
  return (
    firstDifference(found.subarray(0, SIZE), disk) ??
    (found.subarray(SIZE).some((byte) => byte !== 0) ? 'tail' : undefined)
  )
}

describe.each(Object.keys(SOURCES))('%s', (name) => {
  let source: string
  beforeAll(async () => {
    source = await makeSource(name)
  })

  it.each(sample(Object.entries(TARGETS), 2))('to %s', async (title, variant) => {
    const target = path(`${name}-${title}`.replaceAll(' ', '-'))
    await convert({ source, to: variant.to, options: variant.options, target, threads: 0 })
    expect(await differenceToOthers(target, variant)).toBeUndefined()
    if (variant.qemu === 'qcow2') expect(await checkImage(target)).toEqual({ errors: 0, leaks: 0, corruptions: 0 })
  })
})
