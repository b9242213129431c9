import { readFile } from 'node:fs/promises'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { UnitMap } from '../src/bytes/unit-map.ts'
import type { Region } from '../src/formats/format.ts'
import { type OptionInput, readOptions } from '../src/formats/options.ts'
import { formatNamed, writerNamed } from '../src/formats/registry.ts'
import { createImage, imageInfo } from './support/qemu.ts'
import { tempFolder } from './support/temp-folder.ts'

const path = tempFolder()
const KiB = 1024
const MiB = 1024 * KiB

interface Planned {
  readonly size: number
  readonly virtualSize: number
  readonly regions: Region[]
}

/** Plans a disk of which the given units hold data. */
function plan(
  format: string,
  virtualSize: number,
  units: readonly number[],
  given: OptionInput = {},
  seed = 1,
): Planned {
  const writer = writerNamed(format)
  const options = readOptions(writer.options, given, format)
  const unitSize = writer.unitSize(virtualSize, options)
  const map = new UnitMap(unitSize === undefined ? 0 : virtualSize, unitSize ?? 1)
  for (const unit of units) map.add(unit)
  const layout = writer.plan({ virtualSize, units: map, seed: new Uint8Array(32).fill(seed) }, options)
  if (!('regions' in layout)) throw new Error(`${format} has no exact layout with these options`)
  return { size: layout.size, virtualSize: layout.virtualSize, regions: [...layout.regions()] }
}

/** A region in one line: name, kind, offset, length, and for guest bytes where in the disk they begin. */
function told({ regions }: Planned): (string | number)[][] {
  return regions.map((region) => {
    const { name, kind, offset, length } = region
    return kind === 'guest' ? [name, kind, offset, length, region.guest] : [name, kind, offset, length]
  })
}

function bytesOf({ regions }: Planned, name: string): Buffer {
  const region = regions.find((candidate) => candidate.name === name)
  if (region?.kind !== 'bytes') throw new Error(`no bytes named ${name}`)
  return Buffer.from(region.bytes())
}

describe('a raw disk', () => {
  it('is the disk and nothing else', () => {
    expect(told(plan('raw', 5 * MiB, []))).toEqual([['disk', 'guest', 0, 5 * MiB, 0]])
  })

  it('grows to a whole sector', () => {
    expect(plan('raw', 1000, [])).toMatchObject({ size: 1024, virtualSize: 1024 })
  })

  it('of no bytes has no regions', () => {
    expect(plan('raw', 0, [])).toEqual({ size: 0, virtualSize: 0, regions: [] })
  })
})

describe('a fixed VHD', () => {
  it('is the disk, then the footer', () => {
    const planned = plan('vhd', 5 * MiB + 512, [], { subformat: 'fixed' })
    expect(planned).toMatchObject({ size: 5 * MiB + 1024, virtualSize: 5 * MiB + 512 })
    expect(told(planned)).toEqual([
      ['disk', 'guest', 0, 5 * MiB + 512, 0],
      ['footer', 'bytes', 5 * MiB + 512, 512],
    ])
  })
})

describe('a dynamic VHD', () => {
  it('is a footer, a header, a table, the stored blocks behind their bitmaps, and the footer again', () => {
    const planned = plan('vhd', 5 * MiB + 512, [0, 2])
    expect(planned).toMatchObject({ size: 4_197_888, virtualSize: 5 * MiB + 512 })
    expect(told(planned)).toEqual([
      ['footer-copy', 'bytes', 0, 512],
      ['header', 'bytes', 512, 1024],
      ['bat', 'bytes', 1536, 512],
      ['bitmap', 'bytes', 2048, 512],
      ['block', 'guest', 2560, 2_097_152, 0],
      ['bitmap', 'bytes', 2_099_712, 512],
      ['block', 'guest', 2_100_224, 2_097_152, 4_194_304],
      ['footer', 'bytes', 4_197_376, 512],
    ])
  })

  it('has a table of sector numbers, with all ones for what is not stored', () => {
    const table = bytesOf(plan('vhd', 5 * MiB + 512, [0, 2]), 'bat')
    expect(table.toString('hex', 0, 16)).toBe('00000004ffffffff00001005ffffffff')
    expect(table.subarray(12).every((byte) => byte === 0xff)).toBe(true)
  })

  it('has bitmaps of whole sectors, however small the block', () => {
    expect(told(plan('vhd', MiB, [1], { block_size: 512 * KiB }))).toEqual([
      ['footer-copy', 'bytes', 0, 512],
      ['header', 'bytes', 512, 1024],
      ['bat', 'bytes', 1536, 512],
      ['bitmap', 'bytes', 2048, 512],
      ['block', 'guest', 2560, 524_288, 524_288],
      ['footer', 'bytes', 526_848, 512],
    ])
  })

  it('has exactly as many table entries as blocks', () => {
    for (const [size, entries] of [
      [2 * MiB, 1],
      [2 * MiB + 512, 2],
      [129 * 2 * MiB, 129],
    ] as const) {
      expect(bytesOf(plan('vhd', size, []), 'header').readUInt32BE(28)).toBe(entries)
    }
  })

  it('is named by its seed: another source gives another UUID, of version 8', () => {
    const [first, second] = [1, 2].map((seed) => bytesOf(plan('vhd', MiB, [], {}, seed), 'footer').subarray(68, 84))
    expect(first).not.toEqual(second)
    expect(first?.toString('hex')).toMatch(/^.{12}8.{3}[89ab]/)
  })

  it.each([34_816, 5 * MiB + 512, 504 * MiB, 528_482_304, 8 * 1024 * MiB, 100 * 1024 * MiB])(
    'has the geometry that QEMU gives a disk of about %i bytes',
    async (about) => {
      const file = path(`geometry ${about}`)
      await createImage(file, 'vpc', about, { options: { subformat: 'dynamic' } })
      const size = (await imageInfo(file, 'vpc'))['virtual-size']
      expect(size - about).toBeLessThan(MiB)
      const theirs = (await readFile(file)).subarray(56, 60)
      expect(bytesOf(plan('vhd', size, []), 'footer').subarray(56, 60)).toEqual(theirs)
    },
  )

  it('has a geometry that spans no more than the disk, up to the largest there is', () => {
    const spanOf = (size: number) => {
      const footer = bytesOf(plan('vhd', size, []), 'footer')
      return footer.readUInt16BE(56) * footer.readUInt8(58) * footer.readUInt8(59) * 512
    }
    for (const size of [512, 5 * MiB, 504 * MiB - 512, 31 * 1024 * MiB, 127 * 1024 * MiB]) {
      expect(spanOf(size)).toBeLessThanOrEqual(size)
      expect(size - spanOf(size)).toBeLessThan(2.1 * MiB)
    }
    expect(spanOf(2040 * 1024 * MiB)).toBe(65_535 * 16 * 255 * 512)
  })
})

describe('a qcow2', () => {
  it('is a header, counts, the L1 table, and each L2 table before the clusters that it maps', () => {
    const planned = plan('qcow2', MiB, [0, 1, 5])
    expect(planned).toMatchObject({ size: 524_288, virtualSize: MiB })
    expect(told(planned)).toEqual([
      ['header', 'bytes', 0, 65_536],
      ['refcount-table', 'bytes', 65_536, 65_536],
      ['refcount-block', 'bytes', 131_072, 65_536],
      ['l1-table', 'bytes', 196_608, 65_536],
      ['l2-table', 'bytes', 262_144, 65_536],
      ['data', 'guest', 327_680, 131_072, 0],
      ['data', 'guest', 458_752, 65_536, 327_680],
    ])
  })

  it('in clusters of 512 bytes has an L2 table for each 32 KiB that hold data', () => {
    expect(told(plan('qcow2', 128 * KiB, [0, 192, 193], { cluster_size: 512 }))).toEqual([
      ['header', 'bytes', 0, 512],
      ['refcount-table', 'bytes', 512, 512],
      ['refcount-block', 'bytes', 1024, 512],
      ['l1-table', 'bytes', 1536, 512],
      ['l2-table', 'bytes', 2048, 512],
      ['data', 'guest', 2560, 512, 0],
      ['l2-table', 'bytes', 3072, 512],
      ['data', 'guest', 3584, 1024, 98_304],
    ])
  })

  it('without data is four clusters', () => {
    expect(plan('qcow2', 64 * 1024 * MiB, [])).toMatchObject({ size: 4 * 65_536 })
  })

  it('counts its own counts when they need another block', () => {
    const perBlock = 512 / 2
    for (const data of [perBlock - 10, perBlock - 6, perBlock - 5, perBlock, 3 * perBlock]) {
      const planned = plan(
        'qcow2',
        MiB,
        Array.from({ length: data }, (_, unit) => unit),
        { cluster_size: 512 },
      )
      const blocks = planned.regions.filter(({ name }) => name === 'refcount-block').length
      expect(blocks * perBlock * 512).toBeGreaterThanOrEqual(planned.size)
      expect((blocks - 1) * perBlock * 512).toBeLessThan(planned.size)
    }
  })

  it('says in its header what it holds', () => {
    const header = bytesOf(plan('qcow2', 5 * MiB + 512, [3]), 'header')
    expect(header.toString('hex', 0, 8)).toBe('514649fb00000003')
    expect(header.readUInt32BE(20)).toBe(16)
    expect(header.readBigUInt64BE(24)).toBe(BigInt(5 * MiB + 512))
    expect(header.readUInt32BE(36)).toBe(1)
    expect(header.readBigUInt64BE(40)).toBe(196_608n)
  })
})

describe('every layout', () => {
  const kinds = [
    { format: 'raw', options: {} },
    { format: 'vhd', options: { subformat: 'fixed' } },
    { format: 'vhd', options: { subformat: 'dynamic' } },
    { format: 'vhd', options: { subformat: 'dynamic', block_size: 512 * KiB } },
    { format: 'qcow2', options: {} },
    { format: 'qcow2', options: { compat: '0.10', cluster_size: 4096 } },
    { format: 'qcow2', options: { cluster_size: 512 } },
  ]
  const anyDisk = fc.record({
    sectors: fc.nat({ max: 20_000 }),
    chosen: fc.array(fc.double({ min: 0, max: 1, noNaN: true })),
  })

  it.each(kinds)('of $format $options joins its regions without a gap, each unit once', ({ format, options }) => {
    fc.assert(
      fc.property(anyDisk, ({ sectors, chosen }) => {
        const size = sectors * 512
        const writer = writerNamed(format)
        const unitSize = writer.unitSize(size, readOptions(writer.options, options, format)) ?? Math.max(1, size)
        const last = Math.ceil(size / unitSize) - 1
        const units = last < 0 ? [] : [...new Set(chosen.map((at) => Math.round(at * last)))]
        const planned = plan(format, size, units, options)
        expect(coverage(planned)).toBe(planned.size)
        expect(planned.regions).toMatchObject(
          plan(format, size, units, options).regions.map(({ offset }) => ({ offset })),
        )
        for (const region of planned.regions) {
          if (region.kind === 'bytes') expect(region.bytes()).toHaveLength(region.length)
        }
        if (planned.regions.some(({ name }) => name === 'disk')) return
        expect(storedUnits(planned, unitSize)).toEqual(units.sort((a, b) => a - b))
      }),
      { numRuns: 60, seed: 7 },
    )
  })

  it('takes options by the same rules: what one has not, it refuses', () => {
    expect(() => plan('raw', 512, [], { subformat: 'fixed' })).toThrow(/no option subformat/)
    expect(formatNamed('vhd').writer?.options).toHaveProperty('block_size')
  })
})

/** Where the last region ends, when each begins where the one before ended. */
function coverage({ regions }: Planned): number {
  return regions.reduce((end, { offset, length }) => {
    expect(offset).toBe(end)
    return offset + length
  }, 0)
}

function storedUnits({ regions }: Planned, unitSize: number): number[] {
  return regions.flatMap((region) => {
    if (region.kind !== 'guest') return []
    return Array.from({ length: region.length / unitSize }, (_, i) => region.guest / unitSize + i)
  })
}
