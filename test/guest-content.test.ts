import { execFileSync } from 'node:child_process'
import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { KiB, MiB, SECTOR } from '../src/bytes/units.ts'
import { type GuestContent, inspect, memorySource } from '../src/index.ts'
import { FILE_SYSTEMS, fileSystemByBlkid, makePartitioned, partitionsBySfdisk } from './support/guest-disks.ts'
import { patched } from './support/patch.ts'
import { convertImage } from './support/qemu.ts'
import { countingSource, sparseSource } from './support/sources.ts'
import { tempFolder } from './support/temp-folder.ts'

const path = tempFolder()

async function contentOf(source: string | Buffer): Promise<GuestContent> {
  const { content } = await inspect(typeof source === 'string' ? source : memorySource(source), {
    from: 'raw',
    content: true,
  })
  return content as GuestContent
}

const placesOf = ({ partitions }: GuestContent) =>
  partitions.map(({ number, offset, length, name }) => ({ number, offset, length, ...(name && { name }) }))

const GPT = `label: gpt
size=1MiB, type=21686148-6449-6E6F-744E-656564454649, name="bios"
size=8MiB, type=uefi, name="EFI System Partition"
size=9MiB, type=linux, name="Wurzel – €"
type=swap`

const MBR = `label: dos
size=4MiB, type=83
size=2MiB, type=7
type=5
size=3MiB, type=82
size=4MiB, type=8e
type=83`

describe('partitions', () => {
  it.each([
    ['gpt', GPT],
    ['mbr', MBR],
  ])('of a %s lie where sfdisk says', async (scheme, script) => {
    makePartitioned(path(scheme), 32 * MiB, script)
    const expected = await partitionsBySfdisk(path(scheme))
    const content = await contentOf(path(scheme))
    expect(content).toMatchObject({ scheme, notes: [] })
    expect({ scheme: content.scheme, partitions: placesOf(content) }).toEqual(expected)
    expect(expected.partitions.length).toBeGreaterThan(3)
  })

  it('are found in any container, compressed too, with the file system in them', async () => {
    makePartitioned(path('disk'), 32 * MiB, GPT)
    execFileSync('mke2fs', ['-q', '-t', 'ext4', '-L', 'root', '-E', `offset=${10 * MiB}`, path('disk'), '8M'])
    await convertImage([path('disk'), 'raw'], [path('disk.qcow2'), 'qcow2'], { compress: true })
    await convertImage([path('disk'), 'raw'], [path('disk.vhd'), 'vpc'], { options: { force_size: 'on' } })
    const raw = await contentOf(path('disk'))
    expect(raw.partitions[2]).toMatchObject({ type: 'Linux data', fileSystem: { type: 'ext4', label: 'root' } })
    for (const name of ['disk.qcow2', 'disk.vhd']) expect((await inspect(path(name))).content).toEqual(raw)
  })

  it('are read with sectors of 4096 bytes', async () => {
    const sector = 4096
    makePartitioned(path('small'), 32 * MiB, GPT)
    const small = readFileSync(path('small'))
    const large = Buffer.alloc(32 * MiB)
    // The same table, header and entries, as a disk with larger sectors has them.
    large.set(small.subarray(0, SECTOR))
    large.set(small.subarray(SECTOR, 2 * SECTOR), sector)
    large.set(small.subarray(2 * SECTOR, 34 * SECTOR), 2 * sector)
    const first = (await contentOf(large)).partitions[0]
    expect(first).toMatchObject({ name: 'bios', offset: 2048 * sector, length: MiB * 8 })
  })
})

describe('file systems', () => {
  it.each(Object.keys(FILE_SYSTEMS))('are told by their magic as blkid tells them: %s', async (name) => {
    const [size, tool, ...args] = FILE_SYSTEMS[name] as [number, string]
    writeFileSync(path(name), '')
    truncateSync(path(name), size)
    execFileSync(tool, [...args, path(name)], { stdio: 'pipe' })
    const { label, ...expected } = await fileSystemByBlkid(path(name))
    const found = await contentOf(path(name))
    expect(found).toMatchObject({ scheme: 'none', partitions: [], fileSystem: expected, notes: [] })
    if (name !== 'ntfs') expect(found.fileSystem?.label).toBe(label)
  })

  it('are told where they are encrypted', async () => {
    writeFileSync(path('luks'), Buffer.alloc(20 * MiB))
    const cheap = ['--pbkdf', 'pbkdf2', '--pbkdf-force-iterations', '1000']
    execFileSync('cryptsetup', ['luksFormat', '-q', ...cheap, path('luks'), '-'], { input: 'not-secret' })
    expect((await contentOf(path('luks'))).fileSystem).toEqual({ type: 'crypto_LUKS' })
    expect((await fileSystemByBlkid(path('luks'))).type).toBe('crypto_LUKS')
  })
})

describe('a table that lies', () => {
  const gpt = (): Buffer => {
    makePartitioned(path('lies'), 32 * MiB, GPT)
    return readFileSync(path('lies'))
  }

  it('is replaced by its copy, and that is said', async () => {
    const disk = gpt()
    const whole = await contentOf(disk)
    for (const offset of [SECTOR + 40, 2 * SECTOR + 33]) {
      const content = await contentOf(patched(disk, offset, [0xff]))
      expect(content.partitions).toEqual(whole.partitions)
      expect(content.notes).toEqual(['the first GPT is damaged; this is its copy'])
    }
  })

  it('is no table where the copy is damaged too', async () => {
    const disk = patched(gpt(), SECTOR + 40, [0xff])
    const content = await contentOf(patched(disk, disk.length - SECTOR + 40, [0xff]))
    expect(content).toEqual({ scheme: 'gpt', partitions: [], notes: ['the GPT and its copy are damaged'] })
  })

  it('may chain its boot records into a ring', async () => {
    makePartitioned(path('ring'), 32 * MiB, MBR)
    const disk = readFileSync(path('ring'))
    const extended = disk.readUInt32LE(446 + 2 * 16 + 8)
    const second = disk.readUInt32LE(extended * SECTOR + 446 + 16 + 8)
    const next = (extended + second) * SECTOR + 446 + 16
    disk.writeUInt32LE(second, next + 8)
    const content = await contentOf(disk)
    expect(content.notes).toEqual(['the chain of extended boot records is a ring'])
    expect(content.partitions.map(({ number }) => number)).toEqual([1, 2, 3, 5, 6])
  })

  it('may reach beyond the disk', async () => {
    const cut = gpt().subarray(0, 12 * MiB)
    const { partitions } = await contentOf(cut)
    expect(partitions.map(({ outside = false }) => outside)).toEqual([false, false, true, true])
  })

  it('is taken for none where it is noise', async () => {
    for (let seed = 0; seed < 200; seed++) {
      const noise = Buffer.from(Array.from({ length: 2048 }, (_, at) => (seed * 7919 + at * at * 31) >>> 3))
      noise.set([0x55, 0xaa], 510)
      expect(await contentOf(Buffer.concat([noise, Buffer.alloc(64 * KiB)]))).toMatchObject({ scheme: 'none' })
    }
  })

  it('costs a bounded number of small reads, however many partitions it has', async () => {
    const script = Array.from({ length: 120 }, (_, i) => `start=${2048 + i * 128}, size=128`).join('\n')
    makePartitioned(path('many'), 32 * MiB, `label: gpt\n${script}`)
    const source = countingSource(readFileSync(path('many')))
    const { content } = await inspect(source, { from: 'raw', content: true })
    expect(content?.partitions).toHaveLength(120)
    expect(source.reads.length).toBeLessThan(140)
  })

  it('is not believed where the bytes can not be had', async () => {
    const { content } = await inspect(
      { size: MiB, read: () => Buffer.alloc(3), name: 'short' },
      { from: 'raw', content: true },
    )
    expect(content?.notes).toEqual([expect.stringContaining('short gave 3 of 512 bytes')])
  })

  it('is looked for at the end of a disk of 8 EiB as well', async () => {
    const { content } = await inspect(sparseSource(2 ** 52, []), { from: 'raw', content: true })
    expect(content).toEqual({ scheme: 'none', partitions: [], notes: [] })
  })
})
