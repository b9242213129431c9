import { readFile, writeFile } from 'node:fs/promises'
import { inflateRawSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { convert, describeExtents, type ExtentInfo, fileSource, inspect, openImage } from '../src/index.ts'
import { convertToBytes, firstDifference, readDisk } from './support/convert.ts'
import { patched, u64, withBits } from './support/patch.ts'
import { contentOf, fullPattern, makePattern, noise, type Pattern, writePattern } from './support/pattern.ts'
import { convertImage, createImage, qemuIo, takeSnapshot } from './support/qemu.ts'
import { tempFolder } from './support/temp-folder.ts'
import { runTool } from './support/tools.ts'

const path = tempFolder()
const KiB = 1024
const MiB = 1024 * KiB
const size = 5 * MiB + 512
const pattern = makePattern(11, size)
const expected = contentOf(pattern)

async function makeImage(name: string, options: Record<string, string | number> = {}): Promise<string> {
  await createImage(path(name), 'qcow2', size, { options })
  await writePattern(path(name), 'qcow2', pattern)
  return path(name)
}

/** What `info: true` adds: how much of the input was taken, by the name that Node gives it. */
interface InflateInfo {
  readonly engine: { readonly bytesWritten: number }
}

/** Half noise, half zeros: deflates to a little more than half, so that clusters do not fill whole ones. */
const halfNoise: Pattern = {
  size: 8 * MiB,
  writes: Array.from({ length: 256 }, (_, i) => ({
    offset: i * 32 * KiB,
    length: 18 * KiB + 7 * i,
    content: { kind: 'noise', seed: i + 1 },
  })),
}

async function makeCompressed(name: string, options: Record<string, string | number> = {}): Promise<string> {
  await writeFile(path('half.raw'), contentOf(halfNoise))
  await convertImage([path('half.raw'), 'raw'], [path(name), 'qcow2'], { compress: true, options })
  return path(name)
}

async function extentsOf(image: string): Promise<ExtentInfo[]> {
  const source = await fileSource(image)
  const found: ExtentInfo[] = []
  const opened = await openImage(source)
  for await (const rows of opened.extents()) found.push(...describeExtents(rows))
  await source.close?.()
  return found
}

describe('clusters and counts of every width', () => {
  it.each([512, 4 * KiB, 64 * KiB, 2 * MiB])('reads clusters of %i bytes', async (cluster_size) => {
    const image = await makeImage(`cluster ${cluster_size}`, { cluster_size })
    expect((await inspect(image)).details).toMatchObject({ clusterSize: cluster_size })
    expect(firstDifference(await readDisk(image), expected)).toBeUndefined()
  })

  it.each([512, 4 * KiB, 64 * KiB, 2 * MiB])('reads compressed clusters of %i bytes', async (cluster_size) => {
    const image = await makeCompressed(`compressed ${cluster_size}`, { cluster_size })
    expect((await inspect(image)).allocation?.packed).toBeGreaterThan(0)
    expect(firstDifference(await readDisk(image), contentOf(halfNoise))).toBeUndefined()
  })

  it.each([16 * KiB, 64 * KiB, 2 * MiB])('reads subclusters of clusters of %i bytes', async (cluster_size) => {
    const image = await makeImage(`extended ${cluster_size}`, { cluster_size, extended_l2: 'on' })
    expect((await inspect(image)).features).toContain('extended L2 entries')
    expect(firstDifference(await readDisk(image), expected)).toBeUndefined()
  })

  it('reads clusters that zstd compressed', async () => {
    const image = await makeCompressed('zstd', { compression_type: 'zstd' })
    expect((await inspect(image)).features).toContain('compression type')
    expect(firstDifference(await readDisk(image), contentOf(halfNoise))).toBeUndefined()
  })

  it.each([1, 8, 16, 64])('reads an image with refcounts of %i bits', async (refcount_bits) => {
    const image = await makeImage(`refcounts ${refcount_bits}`, { refcount_bits })
    expect((await inspect(image)).details).toMatchObject({ refcountBits: refcount_bits })
    expect(firstDifference(await readDisk(image), expected)).toBeUndefined()
  })
})

describe('compressed clusters', () => {
  it('reads those that straddle host clusters', async () => {
    const image = await makeCompressed('straddling')
    const clusterOf = (offset = 0) => Math.floor(offset / (64 * KiB))
    const straddling = (await extentsOf(image)).filter(
      ({ kind, host = 0, packed = 0 }) => kind === 'packed' && clusterOf(host) !== clusterOf(host + packed - 1),
    )
    expect(straddling.length).toBeGreaterThan(5)
    expect(firstDifference(await readDisk(image), contentOf(halfNoise))).toBeUndefined()
  })

  it('reads one whose last sector lies past the end of the file', async () => {
    const disk = Buffer.concat([noise(1, 900)], 64 * KiB)
    await createImage(path('tail'), 'qcow2', 64 * KiB)
    await writeFile(path('tail.data'), disk)
    await qemuIo(path('tail'), 'qcow2', [`write -q -c -s ${path('tail.data')} 0 64k`])
    const [extent] = await extentsOf(path('tail'))
    const bytes = await readFile(path('tail'))
    const { engine } = inflateRawSync(bytes.subarray(extent?.host), { info: true }) as unknown as InflateInfo
    const end = (extent?.host ?? 0) + engine.bytesWritten
    expect(end % 512).not.toBe(0)
    expect(firstDifference(await readDisk(bytes.subarray(0, end)), disk)).toBeUndefined()
  })

  it('reads one beside stored ones, rewritten after it was compressed', async () => {
    const image = await makeCompressed('rewritten')
    await qemuIo(image, 'qcow2', ['write -q -P 0x5a 100k 200k'])
    const rewritten = contentOf(halfNoise).fill(0x5a, 100 * KiB, 300 * KiB)
    expect(firstDifference(await readDisk(image), rewritten)).toBeUndefined()
  })

  it.each([
    { to: 'raw', options: {} },
    { to: 'vhd', options: { subformat: 'fixed', align: MiB } },
  ] as const)('shows nothing of what one holds past the end of the disk, as $to', async ({ to, options }) => {
    const cut = 8 * MiB - 1000 - 31 * KiB
    const image = await readFile(await makeCompressed('cut'))
    const bytes = await convertToBytes({ source: patched(image, 24, u64(BigInt(cut))), to, options })
    const disk = contentOf(halfNoise).fill(0, cut)
    const length = Math.min(disk.length, bytes.length)
    expect(firstDifference(bytes.subarray(0, length), disk.subarray(0, length))).toBeUndefined()
  })

  it('gives the same bytes from a file, by threads, and from memory', async () => {
    const image = await makeCompressed('ways')
    const target = path('ways.raw')
    await convert({ source: image, to: 'raw', target, threads: 2 })
    expect(firstDifference(await readFile(target), contentOf(halfNoise))).toBeUndefined()
    await convert({ source: await readFile(image), to: 'raw', target, threads: 2 })
    expect(firstDifference(await readFile(target), contentOf(halfNoise))).toBeUndefined()
  })
})

describe('snapshots', () => {
  it('reads the active disk, not the snapshot', async () => {
    const image = await makeImage('snapshots')
    await takeSnapshot(image, 'first')
    await qemuIo(image, 'qcow2', ['write -q -P 0x11 0 1m', 'write -q -P 0x22 4m 100k'])
    await takeSnapshot(image, 'second')
    await qemuIo(image, 'qcow2', ['write -q -P 0x33 512k 64k'])
    const active = Buffer.from(expected)
      .fill(0x11, 0, MiB)
      .fill(0x22, 4 * MiB, 4 * MiB + 100 * KiB)
      .fill(0x33, 512 * KiB, 576 * KiB)
    expect((await inspect(image)).details).toMatchObject({ snapshots: 2 })
    expect(firstDifference(await readDisk(image), active)).toBeUndefined()
  })

  it('leaves the state of a machine, which lies past the end of the disk, alone', async () => {
    const image = await makeImage('machine state')
    await qemuIo(image, 'qcow2', ['write -q -b -P 0x77 0 1m'])
    expect(firstDifference(await readDisk(image), expected)).toBeUndefined()
  })
})

describe('clusters without data', () => {
  it('tells zero clusters, allocated or not, from holes', async () => {
    await createImage(path('zeros'), 'qcow2', MiB)
    await qemuIo(path('zeros'), 'qcow2', ['write -q -P 1 0 128k', 'write -q -z 64k 64k', 'write -q -z 256k 64k'])
    expect(await extentsOf(path('zeros'))).toEqual([
      { guest: 0, length: 64 * KiB, kind: 'stored', host: expect.any(Number) },
      { guest: 64 * KiB, length: 64 * KiB, kind: 'zero' },
      { guest: 128 * KiB, length: 128 * KiB, kind: 'hole' },
      { guest: 256 * KiB, length: 64 * KiB, kind: 'zero' },
      { guest: 320 * KiB, length: 704 * KiB, kind: 'hole' },
    ])
    const disk = Buffer.alloc(MiB).fill(1, 0, 64 * KiB)
    expect(firstDifference(await readDisk(path('zeros')), disk)).toBeUndefined()
  })

  it.each(['metadata', 'falloc', 'full'])('reads an image made with preallocation=%s', async (preallocation) => {
    const image = await makeImage(`preallocation ${preallocation}`, { preallocation })
    expect((await inspect(image)).allocation).toMatchObject({ hole: 0 })
    expect(firstDifference(await readDisk(image), expected)).toBeUndefined()
  })

  it('reads zeros where the last cluster of the file is short, as QEMU does', async () => {
    const full = fullPattern(7, MiB)
    await createImage(path('whole tail'), 'qcow2', MiB)
    await writePattern(path('whole tail'), 'qcow2', full)
    const bytes = await readFile(path('whole tail'))
    await writeFile(path('short tail'), bytes.subarray(0, bytes.length - 50_001))
    await convertImage([path('short tail'), 'qcow2'], [path('short tail.raw'), 'raw'])
    const oracle = await readFile(path('short tail.raw'))
    expect(firstDifference(oracle, contentOf(full).fill(0, MiB - 50_001))).toBeUndefined()
    expect(firstDifference(await readDisk(path('short tail')), oracle)).toBeUndefined()
  })
})

describe('headers', () => {
  it('reads version 2, whose header is 72 bytes', async () => {
    const image = await makeImage('v2', { compat: '0.10' })
    expect((await readFile(image)).readUInt32BE(4)).toBe(2)
    expect(await inspect(image)).toMatchObject({ variant: 'v2', features: [], details: { refcountBits: 16 } })
    expect(firstDifference(await readDisk(image), expected)).toBeUndefined()
  })

  it('reads past the feature name table and an extension that it does not know', async () => {
    const image = await makeImage('extensions')
    await runTool('qemu-img', ['bitmap', '--add', image, 'changes'])
    const header = (await readFile(image)).subarray(0, 1024)
    expect(header.includes('lazy refcounts')).toBe(true)
    expect(header.includes(Buffer.from('23852875', 'hex'))).toBe(true)
    expect(firstDifference(await readDisk(image), expected)).toBeUndefined()
  })

  it.each([
    { bit: 'dirty', mask: 1, warning: /dirty/ },
    { bit: 'corrupt', mask: 2, warning: /corrupt/ },
  ])('reads an image marked $bit, and warns', async ({ bit, mask, warning }) => {
    const image = path(`marked ${bit}`)
    await writeFile(image, withBits(await readFile(await makeImage(bit)), 79, mask))
    const result = await convert({ source: image, to: 'raw', target: `${image}.raw`, threads: 0 })
    expect(result.warnings).toEqual([expect.stringMatching(warning)])
    expect((await inspect(image)).features).toEqual([bit])
    expect(firstDifference(await readFile(`${image}.raw`), expected)).toBeUndefined()
  })
})
