import { alignUp } from '../../bytes/units.ts'
import {
  COMPRESSION_TYPE,
  CompressionType,
  compressionTypeField,
  headerV2,
  headerV3,
  MAGIC,
  REFCOUNT_ORDER,
} from './spec.ts'

export interface HeaderInput {
  readonly version: number
  readonly clusterSize: number
  readonly virtualSize: number
  readonly l1Size: number
  readonly l1TableOffset: number
  readonly refcountTableOffset: number
  readonly refcountTableClusters: number
  readonly compressionType: number
}

/** Cluster 0: the header, and nothing behind it. */
export function encodeHeader(input: HeaderInput): Buffer {
  const { version, clusterSize, compressionType } = input
  const fields = {
    magic: MAGIC,
    version,
    backingFileOffset: 0,
    backingFileSize: 0,
    clusterBits: Math.log2(clusterSize),
    size: input.virtualSize,
    cryptMethod: 0,
    l1Size: input.l1Size,
    l1TableOffset: input.l1TableOffset,
    refcountTableOffset: input.refcountTableOffset,
    refcountTableClusters: input.refcountTableClusters,
    nbSnapshots: 0,
    snapshotsOffset: 0,
  }
  if (version === 2) return Buffer.concat([headerV2.encode(fields)], clusterSize)
  const hasType = compressionType !== CompressionType.deflate
  const headerLength = hasType ? alignUp(compressionTypeField.offset + 1, 8) : headerV3.size
  const header = headerV3.encode({
    ...fields,
    incompatibleFeatures: hasType ? COMPRESSION_TYPE : 0n,
    compatibleFeatures: 0n,
    autoclearFeatures: 0n,
    refcountOrder: REFCOUNT_ORDER,
    headerLength,
  })
  const cluster = Buffer.concat([header], clusterSize)
  if (hasType) compressionTypeField.type.put(cluster, compressionTypeField.offset, compressionType)
  return cluster
}
