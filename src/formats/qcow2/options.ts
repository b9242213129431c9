import { DiskferryError } from '../../bytes/errors.ts'
import { formatSize, KiB, MiB } from '../../bytes/units.ts'
import type { OptionTable, OptionValues } from '../options.ts'
import { DEFAULT_CLUSTER_SIZE, ENTRY_SIZE, MAX_L1_BYTES } from './spec.ts'

export const options = {
  cluster_size: {
    type: 'size',
    min: 512,
    max: 2 * MiB,
    default: DEFAULT_CLUSTER_SIZE,
    help: 'bytes in a cluster, the unit that is stored or left out',
  },
  compat: {
    type: 'choice',
    values: ['1.1', '0.10'],
    default: '1.1',
    help: '1.1 is version 3; 0.10 is version 2, for very old readers',
  },
  compression: {
    type: 'choice',
    values: ['none', 'zlib', 'zstd'],
    default: 'none',
    help: 'how clusters are compressed; zstd needs QEMU 5.1 or newer to be read',
  },
  level: { type: 'number', min: 1, max: 9, default: 1, help: 'how hard to compress: 1 is fastest, 9 smallest' },
} as const satisfies OptionTable
export type Qcow2Options = OptionValues<typeof options>

/** @throws DiskferryError `usage` or `target-unfit` when a disk can't be written with these options */
export function assertWritable(virtualSize: number, options: Qcow2Options): void {
  const { cluster_size } = options
  assertCompressible(options)
  const l1Size = Math.ceil(virtualSize / (cluster_size * (cluster_size / ENTRY_SIZE)))
  if (l1Size * ENTRY_SIZE > MAX_L1_BYTES) throw tooLargeFor(virtualSize, cluster_size)
}

/** A compressed cluster's length is counted in sectors: in tiny clusters, what does not shrink could not be described. */
const MIN_COMPRESSED_CLUSTER = 4 * KiB

function assertCompressible({ cluster_size, compat, compression }: Qcow2Options): void {
  if (compression === 'none') return
  if (cluster_size < MIN_COMPRESSED_CLUSTER) {
    throw new DiskferryError('usage', `cluster_size=${cluster_size} is too small to compress`, {
      found: cluster_size,
      expected: `at least ${MIN_COMPRESSED_CLUSTER}`,
    })
  }
  if (compression === 'zstd' && compat === '0.10') {
    throw new DiskferryError('usage', 'compat=0.10 knows no zstd', { hint: 'choose compression=zlib or compat=1.1' })
  }
}

export function tooLargeFor(virtualSize: number, clusterSize: number): DiskferryError {
  const message = `a disk of ${formatSize(virtualSize)} is too large for qcow2 with clusters of ${formatSize(clusterSize)}`
  return new DiskferryError('target-unfit', message, { found: virtualSize, hint: 'choose a larger cluster_size' })
}
