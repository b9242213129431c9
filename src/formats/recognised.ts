import type { ImageFormat, ProbeWindow } from './format.ts'

/** What `convert` unpacks on the way. */
export const WRAPPERS = ['gzip', 'zstd'] as const
export type WrapperName = (typeof WRAPPERS)[number]
const UNBOUNDED = 'a stranger chooses how much memory it takes to unpack'

/**
 * Formats that are known by their first bytes and not read here. Each is named and refused, so that none of them is
 * ever taken for a raw disk.
 */
export const recognised: readonly ImageFormat[] = [
  stub('qed', 'QEMU QED', ['qed'], magic(0, 'QED\0'), 'qcow2'),
  stub('qcow', 'QEMU copy-on-write, version 1', ['qcow'], magic(0, 'QFI\xfb\0\0\0\x01'), 'qcow2'),
  stub('luks', 'LUKS encrypted disk', ['luks'], magic(0, 'LUKS\xba\xbe'), 'qcow2'),
  wrapper('gzip', 'a gzip file', ['gz'], magic(0, '\x1f\x8b\x08')),
  wrapper('xz', 'an xz file', ['xz'], magic(0, '\xfd7zXZ\0')),
  wrapper('zstd', 'a zstd file', ['zst'], magic(0, '\x28\xb5\x2f\xfd')),
  wrapper('bzip2', 'a bzip2 file', ['bz2'], magic(0, 'BZh')),
]

type Probe = (window: ProbeWindow) => boolean

function stub(name: string, title: string, extensions: string[], matches: Probe, instead: string): ImageFormat {
  const refusal = `convert it to ${instead} with the tool that made it, or with qemu-img`
  return { name, title, extensions, probe: (window) => (matches(window) ? name : undefined), refusal }
}

/** A compressed file round an image: its bytes come only front to back, so nothing is read of it here. */
function wrapper(name: string, title: string, extensions: string[], matches: Probe): ImageFormat {
  const refusal = WRAPPERS.some((known) => known === name)
    ? 'only convert reads it: a raw disk, ZVHD or streamOptimized VMDK inside, front to back'
    : `unpack it first, with ${name} -d: ${UNBOUNDED}`
  return { name, title, extensions, probe: (window) => (matches(window) ? name : undefined), refusal }
}

function magic(offset: number, bytes: string): Probe {
  return ({ head }) => head.toString('latin1', offset, offset + bytes.length) === bytes
}
