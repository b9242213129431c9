import { readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { convert, type WriterOptions } from '../src/index.ts'
import { sha256 } from './support/convert.ts'
import { contentOf, makePattern } from './support/pattern.ts'
import { convertImage, type QemuFormat } from './support/qemu.ts'
import { tempFolder } from './support/temp-folder.ts'
import { runTool } from './support/tools.ts'

/**
 * nbdkit's readers. That of Debian 12 (1.32) decodes raw disks, compressed files, partitions and file systems, but no
 * VHD, VMDK or qcow2: those it serves as bytes, and qemu-img decodes them, which then gets no file to look at.
 */
const path = tempFolder()
const disk = contentOf(makePattern(91, 5 * 2 ** 20 + 4608))
const real = new URL('../fixtures/real-ext4.qcow2', import.meta.url).pathname

/** What nbdkit serves of `file`, through its filters, the outermost first. */
async function served(file: string, filters: readonly string[], settings: readonly string[] = []): Promise<Buffer> {
  const out = path('served')
  const args = [...filters.map((filter) => `--filter=${filter}`), 'file', file, ...settings]
  await runTool('nbdkit', ['-U', '-', '-r', ...args, '--run', `nbdcopy "$uri" '${out}'`])
  return readFile(out)
}

describe('a raw disk', () => {
  it('is served as it is', async () => {
    await convert({ source: disk, from: 'raw', to: 'raw', target: path('disk.raw'), threads: 0 })
    expect(sha256(await served(path('disk.raw'), []))).toBe(sha256(disk))
  })

  it.each(['gzip', 'xz'])('is found inside of what %s makes of it', async (filter) => {
    await runTool('bash', ['-c', `${filter} -1 -c "$0" > "$1"`, path('disk.raw'), path('disk.packed')])
    expect(sha256(await served(path('disk.packed'), [filter]))).toBe(sha256(disk))
  })

  it('holds its partition, and in it the files, where the source had them', async () => {
    await convert({ source: real, to: 'raw', target: path('real.raw') })
    await convertImage([real, 'qcow2'], [path('expected.raw'), 'raw'])
    const partition = (await readFile(path('expected.raw'))).subarray(2 ** 20, 2 ** 20 + 62 * 2 ** 20)
    expect(sha256(await served(path('real.raw'), ['partition'], ['partition=1']))).toBe(sha256(partition))
    const file = await served(path('real.raw'), ['ext2', 'partition'], ['partition=1', 'ext2file=/etc/many/001.conf'])
    await runTool('debugfs', [
      '-R',
      `dump /etc/many/001.conf ${path('001.conf')}`,
      `${path('expected.raw')}?offset=${2 ** 20}`,
    ])
    expect(file.equals(await readFile(path('001.conf')))).toBe(true)
  })
})

describe('a fixed VHD', () => {
  it('is the disk, and 512 bytes behind it', async () => {
    const options = { subformat: 'fixed' } as const
    await convert({ source: disk, from: 'raw', to: 'vhd', options, target: path('fixed.vhd'), threads: 0 })
    const bytes = await served(path('fixed.vhd'), ['offset'], [`offset=0`, `range=${disk.length}`])
    expect(sha256(bytes)).toBe(sha256(disk))
  })
})

const images: readonly { to: keyof WriterOptions; format: QemuFormat; options: Record<string, string> }[] = [
  { to: 'qcow2', format: 'qcow2', options: {} },
  { to: 'qcow2', format: 'qcow2', options: { compression: 'zlib' } },
  { to: 'vhd', format: 'vpc', options: {} },
  { to: 'vmdk', format: 'vmdk', options: { subformat: 'streamOptimized' } },
  { to: 'vmdk', format: 'vmdk', options: { subformat: 'monolithicSparse' } },
]

describe('an image behind nbdkit', () => {
  it.each(images)('$to $options is decoded by qemu-img, which sees only its bytes', async ({ to, format, options }) => {
    const [image, out] = [path('image'), path('decoded.raw')]
    await convert({ source: disk, from: 'raw', to, options, target: image, threads: 0 })
    const decode = `qemu-img convert -f ${format} -O raw "$uri" '${out}'`
    await runTool('nbdkit', ['-U', '-', '-r', 'file', image, '--run', decode])
    expect(sha256((await readFile(out)).subarray(0, disk.length))).toBe(sha256(disk))
  })
})
