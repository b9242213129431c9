import { readFileSync } from 'node:fs'
import { deflateRawSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { inspect, isDiskferryError, memorySource, openImage } from '../src/index.ts'
import { readDisk } from './support/convert.ts'
import { type Limit, limitsDocument } from './support/limits.ts'
import { makeVhdxLimits, makeZvhdLimits } from './support/limits-made.ts'
import { qcow2Limits } from './support/limits-qcow2.ts'
import { vdiLimits, vhdLimits, vmdkLimits } from './support/limits-tables.ts'
import { allocatedBytes } from './support/memory.ts'
import { buildQcow2, u64s } from './support/qcow2-builder.ts'
import { root } from './support/run-node.ts'
import { descriptor } from './support/vmdk-builder.ts'

const MiB = 2 ** 20
const limits: readonly Limit[] = [
  ...qcow2Limits,
  ...vhdLimits,
  ...vdiLimits,
  ...vmdkLimits,
  ...(await makeVhdxLimits()),
  ...(await makeZvhdLimits()),
]

/** Opens an image and follows its tables from the first to the last byte. */
async function follow(source: Limit['inside'], options: Limit['options'], format?: string): Promise<string> {
  try {
    const image = await openImage(source, { from: format, ...options })
    for await (const _ of image.extents(0, Math.min(image.virtualSize, 2 ** 36)));
    return 'opened'
  } catch (error) {
    if (isDiskferryError(error)) return `${error.code}: ${error.message}`
    throw error
  }
}

describe('a limit', () => {
  it.each(limits)('of $format, $field ($most, $origin), holds on both sides', async (limit) => {
    const { format, inside, outside, refusal, says, options, later } = limit
    expect(await follow(inside, options, format)).toMatch(later === undefined ? /^opened$/ : new RegExp(`^${later}:`))
    const refused = await follow(outside, options, format)
    expect(refused).toMatch(new RegExp(`^${refusal}:`))
    expect(refused).toMatch(says)
  })

  it('is stated for every format that is read', () => {
    expect([...new Set(limits.map(({ format }) => format))].sort()).toEqual(
      ['qcow2', 'vdi', 'vhd', 'vhdx', 'vmdk', 'zvhd', 'zvhd2'].sort(),
    )
  })
})

it('is what docs/limits.md says', async () => {
  await expect(limitsDocument(limits)).toMatchFileSnapshot('../docs/limits.md')
})

/** Files of at most 1 MiB that ask for as much work as their format lets them. */
const costly: readonly (readonly [name: string, bytes: Buffer])[] = [
  ['a descriptor of line ends', Buffer.concat([Buffer.from('# Disk DescriptorFile\n'), Buffer.alloc(MiB - 22, '\n')])],
  ['a descriptor of spaces', Buffer.concat([Buffer.from('# Disk DescriptorFile\nRW'), Buffer.alloc(MiB - 24, ' ')])],
  ['a descriptor of one word', Buffer.concat([Buffer.from('# Disk DescriptorFile\n'), Buffer.alloc(MiB - 22, 'a')])],
  ['a descriptor of keys', Buffer.from(`# Disk DescriptorFile\n${'ddb.a=1\n'.repeat(16000)}RW 1 ZERO\n`)],
  ['a descriptor of extents', descriptor(Array<string>(4096).fill('RW 1 ZERO'))],
  [
    'header extensions without an end',
    buildQcow2({ clusterBits: 20, pieces: [[104, Buffer.alloc(MiB - 104, '\0\0\0\x01\0\0\0\0', 'latin1')]] }).subarray(
      0,
      MiB,
    ),
  ],
  ['an L1 table as long as the file', buildQcow2({ l1: Array<bigint>(131_072 - 512).fill(0n) })],
]

describe('opening a file of at most 1 MiB', () => {
  it.each(costly)('takes at most 100 ms of processor time and 64 MiB: %s', async (_, bytes) => {
    expect(bytes.length).toBeLessThanOrEqual(MiB)
    const tryOpen = () => openImage(memorySource(bytes)).catch((error) => expect(error).toSatisfy(isDiskferryError))
    await tryOpen()
    const before = allocatedBytes()
    const started = process.cpuUsage()
    await tryOpen()
    const { user, system } = process.cpuUsage(started)
    expect((user + system) / 1000).toBeLessThan(100)
    expect(allocatedBytes() - before).toBeLessThan(64 * MiB)
  })

  it('follows tables that all L1 entries share no further than the file is long', async () => {
    const l1 = Array<bigint>(100_000).fill(4096n * 250n)
    const bytes = buildQcow2({ size: 2n ** 37n, l1, length: MiB })
    const started = process.cpuUsage()
    expect(await follow(memorySource(bytes), {})).toMatch(/^malformed: .*do not overlap/)
    expect(process.cpuUsage(started).user / 1000).toBeLessThan(2000)
  })

  it('holds no more than a batch of a table of subclusters', async () => {
    const entries = Array.from({ length: 131_072 }, () => [(2n ** 63n) | (6n * 2n ** 20n), 0x5555_5555n]).flat()
    const image = { clusterBits: 21, incompatible: 16n, size: 2n ** 38n, l1: [4n * 2n ** 20n] }
    const bytes = buildQcow2({ ...image, pieces: [[4 * MiB, u64s(entries)]], length: 8 * MiB })
    const opened = await openImage(memorySource(bytes))
    let most = 0
    let rows = 0
    for await (const batch of opened.extents()) {
      most = Math.max(most, batch.length)
      rows += batch.length / 7
    }
    expect(rows).toBe(131_072 * 32)
    expect(most).toBeLessThan(7 * 2048)
  })
})

describe('what is packed', () => {
  it('is unpacked no further than its unit, whatever it would come to', async () => {
    const bomb = deflateRawSync(Buffer.alloc(64 * MiB), { level: 9 })
    const sectors = BigInt(Math.ceil(bomb.length / 512))
    expect(bomb.length).toBeLessThan(2 ** 16 + 2 ** 9)
    const entry = (2n ** 62n) | (3n << (62n - 13n)) | (3n * 2n ** 21n)
    const bytes = buildQcow2({
      ...{ clusterBits: 21, size: 2n ** 21n, l1: [2n ** 22n] },
      pieces: [
        [2 ** 22, u64s([entry | (sectors << (62n - 13n))])],
        [3 * 2 ** 21, bomb],
      ],
    })
    const before = allocatedBytes()
    await expect(readDisk(bytes)).rejects.toMatchObject({ code: 'corrupt-data' })
    expect(allocatedBytes() - before).toBeLessThan(64 * MiB)
  })
})

describe('two formats in one file', () => {
  it('are refused, unless the caller says which counts', async () => {
    const fixed = readFileSync(`${root}/fixtures/qcow2-v3.qcow2`)
    const footer = Buffer.alloc(512)
    footer.write('conectix', 'latin1')
    const polyglot = Buffer.concat([fixed, footer])
    await expect(inspect(polyglot)).rejects.toMatchObject({ code: 'ambiguous-format' })
    expect(await inspect(polyglot, { from: 'qcow2' })).toMatchObject({ format: 'qcow2' })
  })

  it('let a raw disk be read as what it is, though its guest wrote another header', async () => {
    const disk = Buffer.concat([buildQcow2({ backing: { offset: 1024, name: '/etc/passwd' } })], 8192)
    expect(await readDisk(disk, 'raw')).toEqual(disk)
    await expect(readDisk(disk)).rejects.toMatchObject({ code: 'unsafe-image' })
    await expect(readDisk(disk, 'qcow2')).rejects.toMatchObject({ code: 'unsafe-image', found: '/etc/passwd' })
  })
})

describe('a chain of images', () => {
  it('that comes back to itself ends after 32', async () => {
    const image = buildQcow2({ backing: { offset: 1024, name: 'qcow2' } })
    let opened = 0
    const backing = {
      async open() {
        opened++
        return memorySource(image)
      },
    }
    await expect(openImage(memorySource(image), { backing })).rejects.toMatchObject({ code: 'too-large' })
    expect(opened).toBeLessThanOrEqual(32)
  })
})
