import { DiskferryError, malformed, truncated } from '../../bytes/errors.ts'
import { asBuffer } from '../../bytes/struct.ts'
import { readExactly, type Source } from '../../io/source.ts'
import { ExtentCollector, type ExtentRows, Kind } from '../extents.ts'
import type { DiskImage } from '../format.ts'
import { featureNames, type Qcow2Header, readHeader } from './header.ts'
import {
  COMPRESSION_TYPE,
  CORRUPT,
  CompressionType,
  compressedPlace,
  DIRTY,
  ENTRY_SIZE,
  EXTENDED_L2,
  EXTERNAL_DATA_FILE,
  headerV3,
  hostOffset,
  isCompressed,
  isZeroCluster,
} from './spec.ts'

/** Features that change how guest bytes are found, and that this reader knows. The others are refused by name. */
const READABLE = DIRTY | CORRUPT | COMPRESSION_TYPE
const KNOWN = READABLE | EXTERNAL_DATA_FILE | EXTENDED_L2

/** Extents that make a batch: enough to hide what a batch costs, few enough to stay in the cache. */
const BATCH = 1024

/** Opens qcow2 version 2 or 3, the active disk. */
export async function open(source: Source): Promise<DiskImage> {
  const header = await readHeader(source)
  assertKnownFeatures(header.incompatibleFeatures)
  const unallocated = header.facts.backingFile === undefined ? Kind.hole : Kind.parent
  return {
    format: 'qcow2',
    source,
    virtualSize: header.size,
    facts: { variant: `v${header.version}`, ...header.facts },
    codecs: [{ name: 'deflate-raw', unitSize: header.clusterSize }],
    extents(start = 0, end = header.size) {
      assertReadable(header)
      return new ClusterWalk(source, header, unallocated).extents(start, end)
    },
  }
}

/** A bit that nobody knows may change anything: nothing of such an image can be trusted. */
function assertKnownFeatures(incompatible: bigint): void {
  if ((incompatible & ~KNOWN) !== 0n) throw unsupported(incompatible & ~KNOWN)
}

function assertReadable({ incompatibleFeatures, compressionType, cryptMethod, facts }: Qcow2Header): void {
  if ((incompatibleFeatures & ~READABLE) !== 0n) throw unsupported(incompatibleFeatures & ~READABLE)
  if (compressionType !== CompressionType.deflate) {
    throw new DiskferryError('unsupported-feature', `qcow2 compression type ${compressionType} can't be read`, {
      found: compressionType,
      expected: '0 (deflate)',
      offset: 104,
    })
  }
  if (cryptMethod !== 0) {
    throw new DiskferryError('unsupported-feature', `the image is encrypted with ${facts.encryption}`, {
      found: facts.encryption ?? cryptMethod,
      offset: headerV3.offsetOf('cryptMethod'),
      hint: 'decrypt it first',
    })
  }
}

function unsupported(bits: bigint): DiskferryError {
  const names = featureNames(bits).join(', ')
  return new DiskferryError('unsupported-feature', `qcow2 incompatible feature can't be read: ${names}`, {
    found: names,
    offset: headerV3.offsetOf('incompatibleFeatures'),
  })
}

/** Walks L1 and L2 tables in guest order. One L2 table is in memory at a time. */
class ClusterWalk {
  readonly #source: Source
  readonly #header: Qcow2Header
  readonly #unallocated: Kind
  /** Guest bytes that one L2 table covers. */
  readonly #l2Span: number

  constructor(source: Source, header: Qcow2Header, unallocated: Kind) {
    this.#source = source
    this.#header = header
    this.#unallocated = unallocated
    this.#l2Span = (header.clusterSize / ENTRY_SIZE) * header.clusterSize
  }

  async *extents(start: number, end: number): AsyncGenerator<ExtentRows> {
    const extents = new ExtentCollector(start, end)
    const first = Math.floor(start / this.#l2Span)
    const last = Math.ceil(end / this.#l2Span)
    const l1 = await this.#readL1(first, last)
    for (let index = first; index < last; index++) {
      const at = (index - first) * ENTRY_SIZE
      const l2Offset = hostOffset(l1.readUInt32BE(at), l1.readUInt32BE(at + 4))
      if (l2Offset === 0) extents.add(index * this.#l2Span, this.#l2Span, this.#unallocated)
      else this.#decodeL2(await this.#readL2(index, l2Offset), l2Offset, index * this.#l2Span, start, end, extents)
      if (extents.count >= BATCH) yield extents.take()
    }
    if (extents.count > 0) yield extents.take()
  }

  async #readL1(first: number, last: number): Promise<Buffer> {
    const offset = this.#header.l1TableOffset + first * ENTRY_SIZE
    return asBuffer(await readExactly(this.#source, offset, (last - first) * ENTRY_SIZE))
  }

  async #readL2(index: number, offset: number): Promise<Buffer> {
    const { clusterSize, l1TableOffset } = this.#header
    const entryOffset = l1TableOffset + index * ENTRY_SIZE
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
    return asBuffer(await readExactly(this.#source, offset, clusterSize))
  }

  /** Adds the table's entries that touch guest bytes `start` to `end`. */
  #decodeL2(
    l2: Buffer,
    l2Offset: number,
    guestBase: number,
    start: number,
    end: number,
    extents: ExtentCollector,
  ): void {
    const { clusterSize, version } = this.#header
    const first = Math.max(0, Math.floor((start - guestBase) / clusterSize))
    const last = Math.min(l2.length / ENTRY_SIZE, Math.ceil((end - guestBase) / clusterSize))
    for (let index = first; index < last; index++) {
      const at = index * ENTRY_SIZE
      const high = l2.readUInt32BE(at)
      const low = l2.readUInt32BE(at + 4)
      const guest = guestBase + index * clusterSize
      if (high === 0 && low === 0) extents.add(guest, clusterSize, this.#unallocated)
      else if (isCompressed(high)) this.#addCompressed(extents, guest, high, low, l2Offset + at)
      else if (isZeroCluster(low)) this.#addZero(extents, guest, version, l2Offset + at)
      else this.#addStandard(extents, guest, hostOffset(high, low), l2Offset + at)
    }
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

  /** The file's last cluster may be short; what is missing of it reads as zeros. */
  #addStandard(extents: ExtentCollector, guest: number, host: number, entryOffset: number): void {
    const { clusterSize } = this.#header
    if (host === 0) {
      extents.add(guest, clusterSize, this.#unallocated)
      return
    }
    if (host % clusterSize !== 0) {
      throw malformed('qcow2 cluster offset', {
        found: host,
        expected: 'a multiple of the cluster size',
        offset: entryOffset,
      })
    }
    const stored = Math.min(clusterSize, this.#source.size - host)
    if (stored <= 0) throw this.#pastEnd('cluster', host, entryOffset)
    extents.add(guest, stored, Kind.stored, host)
    if (stored < clusterSize) extents.add(guest + stored, clusterSize - stored, Kind.zero)
  }

  #pastEnd(what: string, host: number, offset: number): DiskferryError {
    const expected = `below the file's ${this.#source.size} bytes`
    return truncated(`qcow2 ${what} offset`, { found: host, expected, offset })
  }
}
