import { DiskferryError } from '../../bytes/errors.ts'
import type { CodecName } from '../../bytes/unpack.ts'
import { joinSources } from '../../io/join-sources.ts'
import type { Source } from '../../io/source.ts'
import { Kind } from '../extents.ts'
import type { DiskImage, ReadContext } from '../format.ts'
import { ClusterWalk, type GuestDisk } from './cluster-walk.ts'
import { featureNames, type Qcow2Header, readHeader } from './header.ts'
import { findSnapshot } from './snapshots.ts'
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
const READABLE = DIRTY | CORRUPT | COMPRESSION_TYPE | EXTENDED_L2 | EXTERNAL_DATA_FILE

const CODECS: Readonly<Record<number, CodecName>> = {
  [CompressionType.deflate]: 'deflate-raw',
  [CompressionType.zstd]: 'zstd',
}

/** Opens qcow2 version 2 or 3: the active disk, or the snapshot that is asked for. */
export async function open(source: Source, { backing, snapshot }: ReadContext = {}): Promise<DiskImage> {
  const header = await readHeader(source)
  assertKnownFeatures(header.incompatibleFeatures)
  const disk = snapshot === undefined ? activeDisk(header) : await findSnapshot(source, header, snapshot)
  const { backingFile, dataFile } = header.facts
  const data = dataFile === undefined ? source : await backing?.open(dataFile)
  const { dataFile: _, ...facts } = header.facts
  return {
    format: 'qcow2',
    source: data === undefined || data === source ? source : joinSources([source, data], source.name),
    virtualSize: disk.virtualSize,
    facts: { variant: `v${header.version}`, ...(data === undefined ? header.facts : facts) },
    codecs: [{ name: CODECS[header.compressionType] ?? 'deflate-raw', unitSize: header.clusterSize }],
    extents(start = 0, end = disk.virtualSize) {
      if (data === undefined) throw needsDataFile(dataFile)
      assertReadable(header)
      const place = data === source ? { base: 0, size: source.size } : { base: source.size, size: data.size }
      const unallocated = backingFile === undefined ? Kind.hole : Kind.parent
      return new ClusterWalk({ source, header, disk, data: place, unallocated }).extents(start, end)
    },
    ...(data !== undefined && data !== source && { close: async () => data.close?.() }),
  }
}

function activeDisk({ l1TableOffset, l1Size, size }: Qcow2Header): GuestDisk {
  return { l1TableOffset, l1Size, virtualSize: size }
}

function needsDataFile(dataFile = ''): DiskferryError {
  const message = `the guest's data lies in another file, ${JSON.stringify(dataFile)}`
  return new DiskferryError('unsafe-image', message, {
    found: dataFile,
    hint: 'allow that file, or make an image that holds its data itself',
  })
}

/** A bit that nobody knows may change anything: nothing of such an image can be trusted. */
function assertKnownFeatures(incompatible: bigint): void {
  if ((incompatible & ~READABLE) !== 0n) throw unsupported(incompatible & ~READABLE)
}

function assertReadable({ compressionType, cryptMethod, facts }: Qcow2Header): void {
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
