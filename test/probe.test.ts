import { readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { type FormatName, inspect, openImage } from '../src/index.ts'
import { readDisk } from './support/convert.ts'
import { noise } from './support/pattern.ts'
import { createImage, type QemuFormat } from './support/qemu.ts'
import { makeSmallImages } from './support/small-images.ts'
import { countingSource } from './support/sources.ts'
import { tempFolder } from './support/temp-folder.ts'
import { buildFixedVhd } from './support/vhd-builder.ts'

const path = tempFolder()
const size = 2 ** 20
const images = await makeSmallImages()

/** A raw disk in which a guest has written something at the start. */
function diskBeginningWith(bytes: string | Buffer): Buffer {
  const disk = noise(5, size)
  Buffer.from(bytes as string, 'latin1').copy(disk)
  return disk
}

const qcow2Header = Buffer.from('514649fb00000003', 'hex')

describe('probing', () => {
  it.each(images)('knows a $name by its own bytes', async ({ bytes, format }) => {
    expect((await openImage(countingSource(bytes))).format).toBe(format)
  })

  it.each([0, 1, 7, 8, 511, 512, 1000])('takes a file of %i bytes that says nothing for a raw disk', async (length) => {
    const image = await openImage(countingSource(noise(1, length)))
    expect(image).toMatchObject({ format: 'raw', virtualSize: length })
  })

  it('looks only at the first 64 KiB and the last KiB of a raw disk', async () => {
    const source = countingSource(noise(1, size))
    await openImage(source)
    expect(source.reads).toEqual([
      { offset: 0, length: 64 * 1024 },
      { offset: size - 1024, length: 1024 },
    ])
  })

  it('reads nothing to probe when it is told the format', async () => {
    const source = countingSource(noise(1, size))
    expect((await openImage(source, { from: 'raw' })).virtualSize).toBe(size)
    expect(source.reads).toEqual([])
  })
})

describe('a disk that looks like something else', () => {
  const ambiguous = buildFixedVhd({ size }, diskBeginningWith(qcow2Header))

  it('is refused where two formats claim it, naming both', async () => {
    const error = await inspect(ambiguous).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'ambiguous-format', found: 'qcow2, vhd' })
    expect((error as { hint: string }).hint).toContain('from')
  })

  it('is what the caller says', async () => {
    expect(await inspect(ambiguous, { from: 'vhd' })).toMatchObject({ format: 'vhd', virtualSize: size })
    expect(await inspect(ambiguous, { from: 'raw' })).toMatchObject({ format: 'raw', virtualSize: size + 512 })
    await expect(inspect(ambiguous, { from: 'qcow2' })).rejects.toMatchObject({ code: 'malformed' })
  })

  it.each(images)('keeps every byte of a $name that is said to be raw', async ({ bytes }) => {
    const disk = await readDisk(bytes, 'raw')
    expect(disk.subarray(0, bytes.length).equals(bytes)).toBe(true)
  })

  it('is refused where it begins as a qcow2 and is none', async () => {
    await expect(inspect(diskBeginningWith(qcow2Header))).rejects.toMatchObject({ code: 'malformed' })
  })

  it('is refused by a reader of another format than it has', async () => {
    const [qcow2, vhd] = [
      images.find(({ format }) => format === 'qcow2'),
      images.find(({ format }) => format === 'vhd'),
    ]
    await expect(inspect(qcow2?.bytes ?? '', { from: 'vhd' })).rejects.toMatchObject({ code: 'malformed' })
    await expect(inspect(vhd?.bytes ?? '', { from: 'qcow2' })).rejects.toMatchObject({ code: 'malformed', offset: 0 })
  })
})

describe('formats that are known and not read', () => {
  it.each(['qed', 'qcow'] as const)('refuses %s as QEMU makes it, by name', async (format: QemuFormat) => {
    await createImage(path(format), format, size)
    await expect(inspect(path(format))).rejects.toMatchObject({ code: 'unsupported-format', found: format })
  })

  it('refuses LUKS by name', async () => {
    const disk = diskBeginningWith('LUKS\xba\xbe\x00\x01')
    await expect(inspect(disk)).rejects.toMatchObject({ code: 'unsupported-format', found: 'luks' })
  })

  it.each([
    { title: 'VMDK', head: 'KDMV\x01\0\0\0' },
    { title: 'COWD', head: 'COWD\x01\0\0\0' },
    { title: 'a VMDK descriptor', head: '# Disk DescriptorFile\nversion=1\n' },
    { title: 'ZVHD', head: 'stream\0\0' },
    { title: 'ZVHD2', head: 'z2strm\0\0' },
    { title: 'VHDX', head: 'vhdxfile' },
    { title: 'VDI', head: `${'<<< Oracle VM VirtualBox Disk Image >>>\n'.padEnd(64, '\0')}\x7f\x10\xda\xbe` },
    { title: 'QED', head: 'QED\0' },
    { title: 'QCOW version 1', head: 'QFI\xfb\0\0\0\x01' },
    { title: 'a qcow2 of a later version', head: 'QFI\xfb\0\0\0\x09' },
    { title: 'Parallels', head: 'WithoutFreeSpace' },
    { title: 'Parallels, extended', head: 'WithouFreSpacExt' },
    { title: 'LUKS', head: 'LUKS\xba\xbe\0\x02' },
    { title: 'a dynamic VHD', head: 'conectix' },
  ])('never takes $title for a raw disk', async ({ head }) => {
    const opened = await inspect(diskBeginningWith(head)).then(
      ({ format }) => format,
      ({ code }) => code,
    )
    expect(opened).not.toBe('raw')
  })

  it('refuses a name that no format has, and says which there are', async () => {
    const from = 'qcow3' as FormatName
    const error = await openImage(countingSource(Buffer.alloc(0)), { from }).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'usage', found: 'qcow3', expected: expect.stringContaining('qcow2') })
  })

  it('refuses an image that begins as one of them whatever the name of its file says', async () => {
    await createImage(path('disk.raw'), 'qed', size)
    expect((await readFile(path('disk.raw'))).toString('latin1', 0, 3)).toBe('QED')
    await expect(inspect(path('disk.raw'))).rejects.toMatchObject({ code: 'unsupported-format' })
  })
})
