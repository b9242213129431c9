import { DiskferryError, malformed, tooLarge, truncated } from '../../bytes/errors.ts'
import { asBuffer } from '../../bytes/struct.ts'
import { readClipped, type Source } from '../../io/source.ts'
import type { ImageFacts } from '../format.ts'
import {
  COMPRESSION_TYPE,
  CORRUPT,
  CompressionType,
  CRYPT_METHODS,
  compressionTypeField,
  DIRTY,
  ENTRY_SIZE,
  EXTENDED_ENTRY_SIZE,
  EXTENDED_L2,
  EXTERNAL_DATA_FILE,
  ExtensionType,
  type Header,
  headerExtension,
  headerV2,
  headerV3,
  Incompatible,
  MAGIC,
  MAX_BACKING_FILE_NAME,
  MAX_CLUSTER_BITS,
  MAX_HEADER_EXTENSIONS,
  MAX_L1_BYTES,
  MAX_REFCOUNT_ORDER,
  MIN_CLUSTER_BITS,
  MIN_EXTENDED_CLUSTER_BITS,
} from './spec.ts'

/** What the header says, checked: each size has been held against its limit and against the file's length. */
export interface Qcow2Header extends Header {
  readonly clusterSize: number
  readonly compressionType: number
  readonly facts: Omit<ImageFacts, 'variant'>
}

/** Reads cluster 0: header, extensions, backing file name. */
export async function readHeader(source: Source): Promise<Qcow2Header> {
  const start = asBuffer(await readClipped(source, 0, headerV3.size + ENTRY_SIZE))
  const header = decodeHeader(start)
  assertHeader(header, source.size)
  const clusterSize = 2 ** header.clusterBits
  const cluster = asBuffer(await readClipped(source, 0, clusterSize))
  const compressionType = readCompressionType(header, cluster)
  return { ...header, clusterSize, compressionType, facts: readFacts(header, cluster, clusterSize) }
}

/** Version 2 lacks the feature fields; what they mean by default is filled in. */
function decodeHeader(start: Buffer): Header {
  assertMagic(start)
  const base = headerV2.decode(start)
  const v2 = {
    incompatibleFeatures: 0n,
    compatibleFeatures: 0n,
    autoclearFeatures: 0n,
    refcountOrder: 4,
    headerLength: 72,
  }
  if (base.version === 2) return { ...base, ...v2 }
  if (base.version === 3) return headerV3.decode(start)
  throw new DiskferryError('unsupported-format', `qcow2 version ${base.version} is not known`, {
    found: base.version,
    expected: '2 or 3',
    offset: headerV2.offsetOf('version'),
  })
}

/** Before all else: in a file of another format no other field means anything. */
function assertMagic(start: Buffer): void {
  if (start.length < headerV2.size) return
  const magic = start.readUInt32BE(headerV2.offsetOf('magic'))
  if (magic !== MAGIC) throw malformed('qcow2 magic', { found: hex(magic), expected: hex(MAGIC), offset: 0 })
}

function assertHeader(header: Header, fileSize: number): void {
  const at = (name: keyof Header) => headerV3.offsetOf(name)
  const { clusterBits, headerLength, refcountOrder, l1Size, l1TableOffset } = header
  if (clusterBits < MIN_CLUSTER_BITS || clusterBits > MAX_CLUSTER_BITS) {
    throw malformed('qcow2 cluster bits', { found: clusterBits, expected: '9 to 21', offset: at('clusterBits') })
  }
  if (header.version === 3 && (headerLength < headerV3.size || headerLength % 8 !== 0)) {
    throw malformed('qcow2 header length', {
      found: headerLength,
      expected: 'at least 104 and a multiple of 8',
      offset: at('headerLength'),
    })
  }
  if (headerLength > 2 ** clusterBits) {
    throw malformed('qcow2 header length', {
      found: headerLength,
      expected: 'within cluster 0',
      offset: at('headerLength'),
    })
  }
  if (refcountOrder > MAX_REFCOUNT_ORDER) {
    throw malformed('qcow2 refcount order', { found: refcountOrder, expected: '0 to 6', offset: at('refcountOrder') })
  }
  if (l1Size * ENTRY_SIZE > MAX_L1_BYTES) {
    throw tooLarge('qcow2 L1 table', {
      found: l1Size * ENTRY_SIZE,
      expected: `at most ${MAX_L1_BYTES} bytes`,
      offset: at('l1Size'),
    })
  }
  if (l1TableOffset % 2 ** clusterBits !== 0) {
    throw malformed('qcow2 L1 table offset', {
      found: l1TableOffset,
      expected: 'a multiple of the cluster size',
      offset: at('l1TableOffset'),
    })
  }
  if (l1TableOffset + l1Size * ENTRY_SIZE > fileSize) {
    throw truncated('qcow2 L1 table', {
      found: fileSize,
      expected: l1TableOffset + l1Size * ENTRY_SIZE,
      offset: at('l1TableOffset'),
    })
  }
  if ((header.incompatibleFeatures & EXTENDED_L2) !== 0n && clusterBits < MIN_EXTENDED_CLUSTER_BITS) {
    throw malformed('qcow2 cluster bits', {
      found: clusterBits,
      expected: `at least ${MIN_EXTENDED_CLUSTER_BITS} with extended L2 entries`,
      offset: at('clusterBits'),
    })
  }
  assertCoversDisk(header)
}

/** The L1 table must reach to the disk's end. */
function assertCoversDisk({ size, l1Size, clusterBits, incompatibleFeatures }: Header): void {
  const entrySize = (incompatibleFeatures & EXTENDED_L2) !== 0n ? EXTENDED_ENTRY_SIZE : ENTRY_SIZE
  const clusterSize = 2 ** clusterBits
  const needed = Math.ceil(size / (clusterSize * (clusterSize / entrySize)))
  if (l1Size >= needed) return
  const offset = headerV3.offsetOf('l1Size')
  throw malformed('qcow2 L1 size', {
    found: l1Size,
    expected: `at least ${needed} for a disk of ${size} bytes`,
    offset,
  })
}

/** The compression type's field counts only with its feature bit; without that, what is there must be 0. */
function readCompressionType(header: Header, cluster: Buffer): number {
  const { offset, type } = compressionTypeField
  const isPresent = header.headerLength > offset && cluster.length > offset
  const found = isPresent ? type.get(cluster, offset) : CompressionType.deflate
  if ((header.incompatibleFeatures & COMPRESSION_TYPE) === 0n) {
    if (found === CompressionType.deflate) return found
    throw malformed('qcow2 compression type', { found, expected: '0 without its feature bit', offset })
  }
  if (isPresent) return found
  throw malformed('qcow2 compression type', { found: 'no field', expected: 'a header longer than 104 bytes', offset })
}

function readFacts(header: Header, cluster: Buffer, clusterSize: number): Qcow2Header['facts'] {
  const extensions = readExtensions(header, cluster)
  const incompatible = header.incompatibleFeatures
  const hasDataFile = (incompatible & EXTERNAL_DATA_FILE) !== 0n
  const backingFile = readBackingFile(header, cluster)
  const backingFormat = extensions.get(ExtensionType.backingFormat)?.toString()
  const encryption =
    CRYPT_METHODS[header.cryptMethod] ?? (header.cryptMethod === 0 ? undefined : `method ${header.cryptMethod}`)
  const warnings = [
    (incompatible & DIRTY) !== 0n && 'the image is marked dirty: its refcounts may be stale, its data is not',
    (incompatible & CORRUPT) !== 0n && 'the image is marked corrupt: check it with qemu-img check',
  ].filter((warning) => warning !== false)
  return {
    features: featureNames(incompatible),
    warnings,
    ...(backingFile !== undefined && { backingFile }),
    ...(backingFormat !== undefined && { backingFormat }),
    ...(hasDataFile && { dataFile: extensions.get(ExtensionType.dataFile)?.toString() ?? '' }),
    ...(encryption !== undefined && { encryption }),
    details: {
      version: header.version,
      clusterSize,
      refcountBits: 2 ** header.refcountOrder,
      snapshots: header.nbSnapshots,
    },
  }
}

/** Names of the bits that are set; an unknown bit is `bit N`. */
export function featureNames(incompatible: bigint): string[] {
  const names: string[] = []
  for (let bit = 0; bit < 64; bit++) {
    if ((incompatible >> BigInt(bit)) & 1n) names.push((Incompatible as Record<number, string>)[bit] ?? `bit ${bit}`)
  }
  return names
}

/** Where header extensions end: at the backing file's name when there is one, else with the cluster. */
function readExtensions(header: Header, cluster: Buffer): Map<number, Buffer> {
  const extensions = new Map<number, Buffer>()
  const end = header.backingFileOffset > 0 ? Math.min(header.backingFileOffset, cluster.length) : cluster.length
  let at = header.headerLength
  for (let count = 1; at + headerExtension.size <= end; count++) {
    const { type, length } = headerExtension.decode(cluster, at)
    if (type === ExtensionType.end) break
    if (count > MAX_HEADER_EXTENSIONS) {
      throw tooLarge('qcow2 header extensions', {
        found: 'more',
        expected: `at most ${MAX_HEADER_EXTENSIONS}`,
        offset: at,
      })
    }
    at += headerExtension.size
    if (at + length > end) {
      throw malformed('qcow2 header extension', {
        found: length,
        expected: `at most ${end - at} bytes`,
        offset: at - 4,
      })
    }
    extensions.set(type, cluster.subarray(at, at + length))
    at += Math.ceil(length / 8) * 8
  }
  return extensions
}

function readBackingFile({ backingFileOffset, backingFileSize }: Header, cluster: Buffer): string | undefined {
  if (backingFileOffset === 0) return undefined
  if (backingFileSize > MAX_BACKING_FILE_NAME) {
    const offset = headerV2.offsetOf('backingFileSize')
    throw tooLarge('qcow2 backing file name', {
      found: backingFileSize,
      expected: `at most ${MAX_BACKING_FILE_NAME} bytes`,
      offset,
    })
  }
  if (backingFileOffset + backingFileSize > cluster.length) {
    const offset = headerV2.offsetOf('backingFileOffset')
    throw malformed('qcow2 backing file name', { found: backingFileOffset, expected: 'within cluster 0', offset })
  }
  return cluster.toString('utf8', backingFileOffset, backingFileOffset + backingFileSize)
}

function hex(value: number): string {
  return `0x${value.toString(16).padStart(8, '0')}`
}
