import { packBound } from '../../bytes/pack.ts'
import type { UnitMap } from '../../bytes/unit-map.ts'
import { alignUp, SECTOR } from '../../bytes/units.ts'
import { type PackedLayout, type PackedWriter, PLACED_WIDTH, type PlacedUnits, type PlanInput } from '../format.ts'
import type { Qcow2Options } from './options.ts'
import { countL2Tables } from './plan.ts'
import { CompressionType, ENTRY_SIZE, REFCOUNT_SIZE, writeCompressedEntry, writeCopiedEntry } from './spec.ts'
import { encodeHeader } from './write-header.ts'

/** QEMU compresses with a window of 4 KiB, and inflates with no larger one. */
const WINDOW_BITS = 12

/**
 * Plans compressed qcow2: header, packed clusters, each L2 table behind the clusters that it maps; at the end the L1
 * table and the refcounts. Only the header depends on what comes after it.
 */
export function planPacked(input: PlanInput, options: Qcow2Options, compression: 'zlib' | 'zstd'): PackedLayout {
  const { cluster_size: clusterSize, compat, level } = options
  const { units } = input
  const virtualSize = alignUp(input.virtualSize, SECTOR)
  const entriesPerL2 = clusterSize / ENTRY_SIZE
  const version = compat === '1.1' ? 3 : 2
  return {
    kind: 'packed',
    variant: `v${version} ${compression}`,
    virtualSize,
    sizeAtMost: sizeAtMost(units, clusterSize),
    units,
    packing: {
      codec: compression === 'zlib' ? 'deflate-raw' : 'zstd',
      level,
      windowBits: WINDOW_BITS,
      frame: 'none',
      firstUnit: units.next(0),
    },
    tableSpan: entriesPerL2,
    lateHead: clusterSize,
    writer: () => new CompressedClusterWriter({ version, clusterSize, virtualSize, units, compression }),
  }
}

/** Each L2 table costs its cluster and, at most, one of padding; then L1 and refcounts, which count few clusters. */
function sizeAtMost(units: UnitMap, clusterSize: number): number {
  const data = units.count() * packBound(clusterSize)
  const l2 = 2 * countL2Tables(units, clusterSize / ENTRY_SIZE) * clusterSize
  const l1 = alignUp(Math.ceil(units.length / (clusterSize / ENTRY_SIZE)) * ENTRY_SIZE, clusterSize)
  const content = clusterSize + data + l2 + l1
  return Math.ceil((content + 8 * clusterSize) * (1 + (2 * REFCOUNT_SIZE) / clusterSize)) + 8 * clusterSize
}

interface CompressedImage {
  readonly version: number
  readonly clusterSize: number
  readonly virtualSize: number
  readonly units: UnitMap
  readonly compression: 'zlib' | 'zstd'
}

class CompressedClusterWriter implements PackedWriter {
  readonly #image: CompressedImage
  readonly #entriesPerL2: number
  readonly #l1: Buffer
  readonly #l2: Buffer
  readonly #refcounts: Refcounts
  #tables = { l1: 0, refcounts: 0, refcountClusters: 0 }

  constructor(image: CompressedImage) {
    const { clusterSize, units } = image
    this.#image = image
    this.#entriesPerL2 = clusterSize / ENTRY_SIZE
    this.#l1 = Buffer.alloc(Math.ceil(units.length / this.#entriesPerL2) * ENTRY_SIZE)
    this.#l2 = Buffer.alloc(clusterSize)
    this.#refcounts = new Refcounts(clusterSize)
  }

  begin(): Uint8Array {
    this.#refcounts.count(0, this.#image.clusterSize)
    return Buffer.alloc(this.#image.clusterSize)
  }

  /** When the next cluster belongs to another L2 table, this one is complete and follows. */
  place(placed: PlacedUnits, end: number): Uint8Array {
    const { clusterSize, units } = this.#image
    let unit = 0
    for (let row = 0; row < placed.length; row += PLACED_WIDTH) {
      const offset = placed[row + 1] as number
      const length = placed[row + 2] as number
      unit = placed[row] as number
      writeCompressedEntry(this.#l2, (unit % this.#entriesPerL2) * ENTRY_SIZE, offset, length, Math.log2(clusterSize))
      this.#refcounts.countSectors(offset, length)
    }
    const index = Math.floor(unit / this.#entriesPerL2)
    const isComplete = units.next(unit + 1) >= Math.min(units.length, (index + 1) * this.#entriesPerL2)
    return isComplete ? this.#endL2(index, end) : NOTHING
  }

  #endL2(index: number, end: number): Buffer {
    const { clusterSize } = this.#image
    const offset = alignUp(end, clusterSize)
    writeCopiedEntry(this.#l1, index * ENTRY_SIZE, offset)
    this.#refcounts.count(offset, clusterSize)
    const bytes = Buffer.concat([Buffer.alloc(offset - end), this.#l2])
    this.#l2.fill(0)
    return bytes
  }

  end(end: number): Uint8Array {
    const { clusterSize } = this.#image
    const l1Offset = alignUp(end, clusterSize)
    const l1Size = alignUp(this.#l1.length, clusterSize)
    this.#refcounts.count(l1Offset, l1Size)
    const refcounts = this.#refcounts.encode(l1Offset + l1Size)
    const { tableOffset, tableClusters } = refcounts
    this.#tables = { l1: l1Offset, refcounts: tableOffset, refcountClusters: tableClusters }
    return Buffer.concat([
      Buffer.alloc(l1Offset - end),
      this.#l1,
      Buffer.alloc(l1Size - this.#l1.length),
      refcounts.bytes,
    ])
  }

  head(): Uint8Array {
    const { version, clusterSize, virtualSize, compression } = this.#image
    return encodeHeader({
      version,
      clusterSize,
      virtualSize,
      l1Size: this.#l1.length / ENTRY_SIZE,
      l1TableOffset: this.#l1.length === 0 ? 0 : this.#tables.l1,
      refcountTableOffset: this.#tables.refcounts,
      refcountTableClusters: this.#tables.refcountClusters,
      compressionType: compression === 'zlib' ? CompressionType.deflate : CompressionType.zstd,
    })
  }
}

const NOTHING = new Uint8Array(0)

/** How often each cluster of the file is referred to: two bytes for each, in memory that grows with the file. */
class Refcounts {
  readonly #clusterSize: number
  #counts = new Uint16Array(4096)
  #used = 0

  constructor(clusterSize: number) {
    this.#clusterSize = clusterSize
  }

  /** Counts each cluster that bytes `offset` to `offset + length` touch, once. */
  count(offset: number, length: number): void {
    const end = Math.ceil((offset + length) / this.#clusterSize)
    this.#reserve(end)
    for (let cluster = Math.floor(offset / this.#clusterSize); cluster < end; cluster++) {
      this.#counts[cluster] = (this.#counts[cluster] as number) + 1
    }
  }

  /** A compressed cluster refers to whole sectors. */
  countSectors(offset: number, length: number): void {
    const start = offset - (offset % SECTOR)
    this.count(start, alignUp(offset + length, SECTOR) - start)
  }

  #reserve(clusters: number): void {
    this.#used = Math.max(this.#used, clusters)
    if (clusters <= this.#counts.length) return
    const larger = new Uint16Array(Math.max(clusters, this.#counts.length * 2))
    larger.set(this.#counts)
    this.#counts = larger
  }

  /** Refcount blocks at `offset`, the table behind them. They count themselves. */
  encode(offset: number): { bytes: Buffer; tableOffset: number; tableClusters: number } {
    const perBlock = this.#clusterSize / REFCOUNT_SIZE
    const first = offset / this.#clusterSize
    let blocks = 1
    let tableClusters = 1
    while (blocks * perBlock < first + blocks + tableClusters) {
      blocks += 1
      tableClusters = Math.ceil((blocks * ENTRY_SIZE) / this.#clusterSize)
    }
    this.count(offset, (blocks + tableClusters) * this.#clusterSize)
    const bytes = Buffer.alloc((blocks + tableClusters) * this.#clusterSize)
    for (let cluster = 0; cluster < this.#used; cluster++) {
      bytes.writeUInt16BE(this.#counts[cluster] as number, cluster * REFCOUNT_SIZE)
    }
    const table = blocks * this.#clusterSize
    for (let block = 0; block < blocks; block++) {
      bytes.writeBigUInt64BE(BigInt(offset + block * this.#clusterSize), table + block * ENTRY_SIZE)
    }
    return { bytes, tableOffset: offset + table, tableClusters }
  }
}
