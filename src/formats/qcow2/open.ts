import { DiskferryError } from '../../bytes/errors.ts'
import type { CodecName } from '../../bytes/unpack.ts'
import type { Source } from '../../io/source.ts'
import { Kind } from '../extents.ts'
import type { DiskImage } from '../format.ts'
import { ClusterWalk } from './cluster-walk.ts'
import { featureNames, type Qcow2Header, readHeader } from './header.ts'
import {
  COMPRESSION_TYPE,
  CORRUPT,
  CompressionType,
  compressionTypeField,
  DIRTY,
  EXTENDED_L2,
  EXTERNAL_DATA_FILE,
  headerV3,
} from './spec.ts'

/** Features that change how guest bytes are found, and that this reader knows. The others are refused by name. */
const READABLE = DIRTY | CORRUPT | COMPRESSION_TYPE | EXTENDED_L2
const KNOWN = READABLE | EXTERNAL_DATA_FILE

const CODECS: Readonly<Record<number, CodecName>> = {
  [CompressionType.deflate]: 'deflate-raw',
  [CompressionType.zstd]: 'zstd',
}

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
    codecs: [{ name: CODECS[header.compressionType] ?? 'deflate-raw', unitSize: header.clusterSize }],
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
  if (CODECS[compressionType] === undefined) {
    throw new DiskferryError('unsupported-feature', `qcow2 compression type ${compressionType} can't be read`, {
      found: compressionType,
      expected: '0 (deflate) or 1 (zstd)',
      offset: compressionTypeField.offset,
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
