import { DiskferryError } from '../../bytes/errors.ts'
import { packBound } from '../../bytes/pack.ts'
import type { UnitMap } from '../../bytes/unit-map.ts'
import { alignUp, SECTOR } from '../../bytes/units.ts'
import type { ImageWriter, PackedLayout, PackedWriter, PlacedUnits, PlanInput } from '../format.ts'
import { PLACED_WIDTH } from '../format.ts'
import { grainFrame } from './grain-frame.ts'
import { planSparse } from './plan-sparse.ts'
import {
  CompressAlgorithm,
  DEFAULT_GRAIN_SIZE,
  ENTRY_SIZE,
  Flag,
  GD_AT_END,
  MAX_DISK_SIZE,
  MAX_GTES_PER_GT,
  MarkerType,
  metadataMarker,
  NEWLINE_TEST,
  SPARSE_MAGIC,
  sparseHeader,
} from './spec.ts'
import { DESCRIPTOR_SECTORS, encodeDescriptor, options, type VmdkOptions } from './write-descriptor.ts'

/** Sectors before the first grain, as VMware's tools have it. */
const OVERHEAD_SECTORS = 128
const VERSION = 3
const TABLE_SIZE = MAX_GTES_PER_GT * ENTRY_SIZE

/** Plans VMDK in one file. */
export const writer: ImageWriter<typeof options> = {
  options,
  unitSize(virtualSize) {
    if (virtualSize <= MAX_DISK_SIZE) return DEFAULT_GRAIN_SIZE
    throw new DiskferryError('target-unfit', 'a VMDK holds at most 64 TiB', {
      found: virtualSize,
      expected: MAX_DISK_SIZE,
    })
  },
  plan: (input, options) =>
    options.subformat === 'streamOptimized' ? planStreamOptimized(input, options) : planSparse(input, options),
}

/** Header, descriptor, grains; each grain table behind its grains; directory, footer, end of stream. */
function planStreamOptimized(input: PlanInput, options: VmdkOptions): PackedLayout {
  const { units, seed } = input
  const virtualSize = alignUp(input.virtualSize, SECTOR)
  const descriptor = encodeDescriptor(virtualSize, seed, options)
  const tables = Math.ceil(units.length / MAX_GTES_PER_GT)
  const grains = units.count() * alignUp(packBound(DEFAULT_GRAIN_SIZE) + grainFrame.overhead, SECTOR)
  const metadata = tables * (SECTOR + TABLE_SIZE + ENTRY_SIZE) + 6 * SECTOR
  return {
    kind: 'packed',
    variant: 'streamOptimized',
    virtualSize,
    sizeAtMost: OVERHEAD_SECTORS * SECTOR + grains + metadata,
    units,
    packing: {
      codec: 'zlib',
      level: options.level,
      compressor: options.compressor,
      frame: 'grain-marker',
      firstUnit: units.next(0),
    },
    tableSpan: MAX_GTES_PER_GT,
    lateHead: 0,
    writer: () => new StreamOptimizedWriter(virtualSize, units, descriptor),
  }
}

class StreamOptimizedWriter implements PackedWriter {
  readonly #virtualSize: number
  readonly #units: UnitMap
  readonly #descriptor: Buffer
  readonly #directory: Buffer
  readonly #table = Buffer.alloc(TABLE_SIZE)

  constructor(virtualSize: number, units: UnitMap, descriptor: Buffer) {
    this.#virtualSize = virtualSize
    this.#units = units
    this.#descriptor = descriptor
    this.#directory = Buffer.alloc(Math.ceil(units.length / MAX_GTES_PER_GT) * ENTRY_SIZE)
  }

  begin(): Uint8Array {
    return Buffer.concat([this.#header(GD_AT_END), this.#descriptor], OVERHEAD_SECTORS * SECTOR)
  }

  /** When the next grain belongs to another table, this one is complete and follows. */
  place(placed: PlacedUnits, end: number): Uint8Array {
    let grain = 0
    for (let row = 0; row < placed.length; row += PLACED_WIDTH) {
      grain = placed[row] as number
      this.#table.writeUInt32LE(sectorOf(placed[row + 1] as number), (grain % MAX_GTES_PER_GT) * ENTRY_SIZE)
    }
    const index = Math.floor(grain / MAX_GTES_PER_GT)
    const isComplete = this.#units.next(grain + 1) >= Math.min(this.#units.length, (index + 1) * MAX_GTES_PER_GT)
    return isComplete ? this.#endTable(index, end) : Buffer.alloc(0)
  }

  #endTable(index: number, end: number): Buffer {
    this.#directory.writeUInt32LE(sectorOf(end + SECTOR), index * ENTRY_SIZE)
    const bytes = Buffer.concat([marker(MarkerType.grainTable, TABLE_SIZE), this.#table])
    this.#table.fill(0)
    return bytes
  }

  end(end: number): Uint8Array {
    const size = alignUp(this.#directory.length, SECTOR)
    const directory = Buffer.concat([this.#directory], size)
    return Buffer.concat([
      marker(MarkerType.grainDirectory, size),
      directory,
      marker(MarkerType.footer, SECTOR),
      this.#header(BigInt(sectorOf(end + SECTOR))),
      marker(MarkerType.endOfStream, 0),
    ])
  }

  /** The footer is the header again, with the directory's true offset. */
  #header(gdOffset: bigint): Buffer {
    return sparseHeader.encode({
      magic: SPARSE_MAGIC,
      version: VERSION,
      flags: Flag.newlineTest | Flag.compressed | Flag.markers,
      capacity: BigInt(this.#virtualSize / SECTOR),
      grainSize: BigInt(DEFAULT_GRAIN_SIZE / SECTOR),
      descriptorOffset: 1n,
      descriptorSize: BigInt(DESCRIPTOR_SECTORS),
      gtesPerGt: MAX_GTES_PER_GT,
      rgdOffset: 0n,
      gdOffset,
      overHead: BigInt(OVERHEAD_SECTORS),
      uncleanShutdown: 0,
      newlineTest: NEWLINE_TEST,
      compressAlgorithm: CompressAlgorithm.deflate,
    })
  }
}

/** @throws DiskferryError `target-unfit` past 2 TiB of file: entries have 32 bits */
function sectorOf(offset: number): number {
  const sector = offset / SECTOR
  if (sector <= 0xffffffff) return sector
  throw new DiskferryError('target-unfit', 'a VMDK file ends at 2 TiB: its tables hold 32-bit sector numbers', {
    found: offset,
    hint: 'choose qcow2 or zvhd2',
  })
}

function marker(type: number, size: number): Buffer {
  return metadataMarker.encode({ sectors: BigInt(size / SECTOR), size: 0, type })
}
