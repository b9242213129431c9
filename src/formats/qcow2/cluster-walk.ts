import { type DiskferryError, malformed, truncated } from '../../bytes/errors.ts'
import { asBuffer } from '../../bytes/struct.ts'
import { isZero } from '../../bytes/zeros.ts'
import { readExactly, type Source } from '../../io/source.ts'
import { ExtentCollector, type ExtentRows, Kind } from '../extents.ts'
import type { Qcow2Header } from './header.ts'
import {
  compressedPlace,
  ENTRY_SIZE,
  EXTENDED_ENTRY_SIZE,
  EXTENDED_L2,
  hostOffset,
  isCompressed,
  isCopied,
  isZeroCluster,
  SUBCLUSTERS,
} from './spec.ts'

/** Extents that make a batch: enough to hide what a batch costs, few enough to stay in the cache. */
const BATCH = 1024

const NOT_ALLOCATED = -1

/** Entries of which nothing is mapped are skipped so many at a time: most of a table, in most images. */
const SKIPPED = 64

/** The L1 table of the active disk, or of a snapshot. */
export interface GuestDisk {
  readonly l1TableOffset: number
  readonly l1Size: number
  readonly virtualSize: number
}

export interface ClusterWalkInput {
  readonly source: Source
  readonly header: Qcow2Header
  readonly disk: GuestDisk
  /** Where standard clusters lie in what the image reads from: in the file itself, or in a data file behind it. */
  readonly data: { readonly base: number; readonly size: number }
  /** What a cluster is that the tables do not map. */
  readonly unallocated: Kind
}

/** Walks L1 and L2 tables in guest order. One L2 table is in memory at a time. */
export class ClusterWalk {
  readonly #source: Source
  readonly #header: Qcow2Header
  readonly #disk: GuestDisk
  readonly #data: ClusterWalkInput['data']
  readonly #unallocated: Kind
  /** Bytes of an L2 entry. */
  readonly #entrySize: number
  /** Guest bytes that one L2 table covers. */
  readonly #l2Span: number
  /** Bytes of L2 tables read so far. */
  #l2Bytes = 0

  constructor({ source, header, disk, data, unallocated }: ClusterWalkInput) {
    this.#source = source
    this.#header = header
    this.#disk = disk
    this.#data = data
    this.#unallocated = unallocated
    this.#entrySize = hasExtendedL2(header) ? EXTENDED_ENTRY_SIZE : ENTRY_SIZE
    this.#l2Span = (header.clusterSize / this.#entrySize) * header.clusterSize
  }

  async *extents(start: number, end: number): AsyncGenerator<ExtentRows> {
    const extents = new ExtentCollector(start, end)
    const first = Math.floor(start / this.#l2Span)
    const last = Math.min(this.#disk.l1Size, Math.ceil(end / this.#l2Span))
    const l1 = await this.#readL1(first, last)
    for (let index = first; index < last; index++) {
      const at = (index - first) * ENTRY_SIZE
      const l2Offset = hostOffset(l1.readUInt32BE(at), l1.readUInt32BE(at + 4))
      if (l2Offset === 0) extents.add(index * this.#l2Span, this.#l2Span, this.#unallocated)
      else
        yield* this.#decodeL2(await this.#readL2(index, l2Offset), l2Offset, index * this.#l2Span, start, end, extents)
    }
    const mapped = Math.max(start, last * this.#l2Span)
    if (mapped < end) extents.add(mapped, end - mapped, this.#unallocated)
    if (extents.count > 0) yield extents.take()
  }

  async #readL1(first: number, last: number): Promise<Buffer> {
    const offset = this.#disk.l1TableOffset + first * ENTRY_SIZE
    return asBuffer(await readExactly(this.#source, offset, (last - first) * ENTRY_SIZE))
  }

  async #readL2(index: number, offset: number): Promise<Buffer> {
    const { clusterSize } = this.#header
    const entryOffset = this.#disk.l1TableOffset + index * ENTRY_SIZE
    if (offset % clusterSize !== 0) {
      throw malformed(`qcow2 L2 table ${index}`, {
        found: offset,
        expected: 'a multiple of the cluster size',
        offset: entryOffset,
      })
    }
    if (offset + clusterSize > this.#source.size) {
      throw truncated(`qcow2 L2 table ${index} ends at ${offset + clusterSize}`, {
        found: this.#source.size,
        expected: offset + clusterSize,
        offset: entryOffset,
      })
    }
    this.#l2Bytes += clusterSize
    if (this.#l2Bytes > this.#source.size) {
      throw malformed('qcow2 L2 tables', {
        found: 'more of them than the file holds',
        expected: 'tables that do not overlap',
        offset: entryOffset,
      })
    }
    return asBuffer(await readExactly(this.#source, offset, clusterSize))
  }

  /** Adds the table's entries that touch guest bytes `start` to `end`. One entry may be 32 extents: a batch may fill. */
  *#decodeL2(
    l2: Buffer,
    l2Offset: number,
    guestBase: number,
    start: number,
    end: number,
    extents: ExtentCollector,
  ): Generator<ExtentRows> {
    const { clusterSize, version } = this.#header
    const first = Math.max(0, Math.floor((start - guestBase) / clusterSize))
    const last = Math.min(l2.length / this.#entrySize, Math.ceil((end - guestBase) / clusterSize))
    const entries = new DataView(l2.buffer, l2.byteOffset, l2.length)
    for (let index = first; index < last; ) {
      const at = index * this.#entrySize
      const high = entries.getUint32(at)
      const low = entries.getUint32(at + 4)
      const guest = guestBase + index * clusterSize
      const skipped = Math.min(SKIPPED, last - index)
      let count = 1
      if (high === 0 && low === 0 && isZero(l2, at, at + skipped * this.#entrySize)) {
        count = skipped
        extents.add(guest, count * clusterSize, this.#unallocated)
      } else if (isCompressed(high)) this.#addCompressed(extents, guest, high, low, l2Offset + at)
      else if (this.#entrySize === EXTENDED_ENTRY_SIZE) this.#addSubclusters(extents, guest, l2, at, l2Offset + at)
      else if (isZeroCluster(low)) this.#addZero(extents, guest, version, l2Offset + at)
      else {
        const host = this.#clusterAt(high, low)
        count = this.#countRun(entries, index, last, host)
        this.#addStandard(extents, guest, count * clusterSize, host, 0, l2Offset + at)
      }
      index += count
      if (extents.count >= BATCH) yield extents.take()
    }
  }

  /** How many standard clusters from entry `index` on, whose cluster is at `host`, lie one behind the other in the file. */
  #countRun(entries: DataView, index: number, last: number, host: number): number {
    if (host === NOT_ALLOCATED) return 1
    const { clusterSize } = this.#header
    const most = Math.min(last - index, Math.ceil((this.#data.size - host) / clusterSize))
    const high = entries.getUint32(index * ENTRY_SIZE)
    const low = entries.getUint32(index * ENTRY_SIZE + 4)
    let count = 1
    while (count < most) {
      const at = (index + count) * ENTRY_SIZE
      if (entries.getUint32(at) !== high || entries.getUint32(at + 4) !== low + count * clusterSize) break
      count += 1
    }
    return count
  }

  /** Offset 0 says "not allocated", except in a data file, whose first cluster is marked by bit 63. */
  #clusterAt(high: number, low: number): number {
    const host = hostOffset(high, low)
    return host === 0 && !(this.#data.base > 0 && isCopied(high)) ? NOT_ALLOCATED : host
  }

  #addCompressed(extents: ExtentCollector, guest: number, high: number, low: number, entryOffset: number): void {
    const { host, length } = compressedPlace(high, low, this.#header.clusterBits)
    if (host >= this.#source.size) throw this.#pastEnd('compressed cluster', host, entryOffset)
    extents.add(guest, this.#header.clusterSize, Kind.packed, host, Math.min(length, this.#source.size - host))
  }

  #addZero(extents: ExtentCollector, guest: number, version: number, offset: number): void {
    if (version < 3)
      throw malformed('qcow2 L2 entry', { found: 'the zero bit', expected: 'bit 0 clear in version 2', offset })
    extents.add(guest, this.#header.clusterSize, Kind.zero)
  }

  /** "Extended L2 Entries": each of 32 subclusters is stored, zero, or neither; both at once is corruption. */
  #addSubclusters(extents: ExtentCollector, guest: number, l2: Buffer, at: number, entryOffset: number): void {
    const host = this.#clusterAt(l2.readUInt32BE(at), l2.readUInt32BE(at + 4))
    if (isZeroCluster(l2.readUInt32BE(at + 4))) {
      throw malformed('qcow2 extended L2 entry', { found: 'bit 0 set', expected: 'bit 0 clear', offset: entryOffset })
    }
    const zero = l2.readUInt32BE(at + ENTRY_SIZE)
    const stored = l2.readUInt32BE(at + ENTRY_SIZE + 4)
    if ((zero & stored) !== 0 || (stored !== 0 && host === NOT_ALLOCATED)) {
      const found = `stored 0x${stored.toString(16)}, zero 0x${zero.toString(16)}, cluster at ${host}`
      throw malformed('qcow2 subclusters', {
        found,
        expected: 'each in one state, and a cluster for what is stored',
        offset: entryOffset,
      })
    }
    const size = this.#header.clusterSize / SUBCLUSTERS
    for (let index = 0; index < SUBCLUSTERS; index++) {
      const from = guest + index * size
      if ((stored >>> index) & 1) this.#addStandard(extents, from, size, host, index * size, entryOffset)
      else extents.add(from, size, (zero >>> index) & 1 ? Kind.zero : this.#unallocated)
    }
  }

  /** `length` bytes at `into` the cluster at `host`. The file's last cluster may be short; what is missing reads as zeros. */
  #addStandard(
    extents: ExtentCollector,
    guest: number,
    length: number,
    host: number,
    into: number,
    entryOffset: number,
  ): void {
    const { clusterSize } = this.#header
    if (host === NOT_ALLOCATED) {
      extents.add(guest, length, this.#unallocated)
      return
    }
    if (host % clusterSize !== 0) {
      throw malformed('qcow2 cluster offset', {
        found: host,
        expected: 'a multiple of the cluster size',
        offset: entryOffset,
      })
    }
    const { base, size } = this.#data
    if (host >= size) throw this.#pastEnd('cluster', host, entryOffset)
    const stored = Math.max(0, Math.min(length, size - host - into))
    extents.add(guest, stored, Kind.stored, base + host + into)
    extents.add(guest + stored, length - stored, Kind.zero)
  }

  #pastEnd(what: string, host: number, offset: number): DiskferryError {
    const expected = `below the file's ${this.#source.size} bytes`
    return truncated(`qcow2 ${what} offset`, { found: host, expected, offset })
  }
}

function hasExtendedL2({ incompatibleFeatures }: Qcow2Header): boolean {
  return (incompatibleFeatures & EXTENDED_L2) !== 0n
}
