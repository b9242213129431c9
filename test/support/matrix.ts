import { rm, writeFile } from 'node:fs/promises'
import type { WriterOptions } from '../../src/index.ts'
import { contentOf, type Pattern, writePattern } from './pattern.ts'
import { convertImage, createImage, type QemuFormat } from './qemu.ts'

/** A kind of image that QEMU makes. */
export interface SourceKind {
  readonly name: string
  readonly format: QemuFormat
  readonly options?: Readonly<Record<string, string>>
  readonly compressed?: boolean
}

export const sourceKinds: readonly SourceKind[] = [
  { name: 'raw', format: 'raw' },
  { name: 'qcow2 v2', format: 'qcow2', options: { compat: '0.10' } },
  { name: 'qcow2 v3', format: 'qcow2', options: { compat: '1.1' } },
  { name: 'compressed qcow2', format: 'qcow2', compressed: true },
  { name: 'fixed VHD', format: 'vpc', options: { subformat: 'fixed', force_size: 'on' } },
  { name: 'dynamic VHD', format: 'vpc', options: { subformat: 'dynamic', force_size: 'on' } },
  { name: 'fixed VHD sized by its geometry', format: 'vpc', options: { subformat: 'fixed' } },
  { name: 'dynamic VHD sized by its geometry', format: 'vpc', options: { subformat: 'dynamic' } },
]

type Written = 'raw' | 'qcow2' | 'vhd' | 'vmdk'

/** A kind of image that is written here. */
export type TargetKind = {
  readonly [T in Written]: {
    readonly name: string
    readonly to: T
    readonly options: WriterOptions[T]
    readonly format: QemuFormat
  }
}[Written]

/** Targets whose every byte is planned before the first is made. */
export const targetKinds: readonly TargetKind[] = [
  { name: 'raw', to: 'raw', options: {}, format: 'raw' },
  { name: 'qcow2 v3', to: 'qcow2', options: {}, format: 'qcow2' },
  { name: 'qcow2 v2', to: 'qcow2', options: { compat: '0.10' }, format: 'qcow2' },
  { name: 'dynamic VHD', to: 'vhd', options: { subformat: 'dynamic' }, format: 'vpc' },
  { name: 'fixed VHD', to: 'vhd', options: { subformat: 'fixed' }, format: 'vpc' },
]

/** Targets whose size shows only when their units have been packed. */
export const packedTargetKinds: readonly TargetKind[] = [
  { name: 'compressed qcow2 v3', to: 'qcow2', options: { compression: 'zlib' }, format: 'qcow2' },
  { name: 'compressed qcow2 v2', to: 'qcow2', options: { compression: 'zlib', compat: '0.10' }, format: 'qcow2' },
  { name: 'zstd qcow2', to: 'qcow2', options: { compression: 'zstd', cluster_size: 2 ** 17 }, format: 'qcow2' },
  { name: 'streamOptimized VMDK', to: 'vmdk', options: { subformat: 'streamOptimized' }, format: 'vmdk' },
]

/** Has QEMU make an image of the pattern. A VHD sized by its geometry is larger than the pattern. */
export async function makeSource(kind: SourceKind, path: string, pattern: Pattern): Promise<void> {
  if (kind.format === 'raw') {
    await writeFile(path, contentOf(pattern))
  } else if (kind.compressed) {
    await writeFile(`${path}.raw`, contentOf(pattern))
    await convertImage([`${path}.raw`, 'raw'], [path, kind.format], { compress: true })
    await rm(`${path}.raw`)
  } else {
    await createImage(path, kind.format, pattern.size, { options: kind.options ?? {} })
    await writePattern(path, kind.format, pattern)
  }
}
