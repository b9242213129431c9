import { limitsOf } from './limits.ts'
import { buildQcow2, type Qcow2Description, u64s } from './qcow2-builder.ts'
import { sparseSource } from './sources.ts'

const MiB = 2 ** 20
const limit = limitsOf('qcow2')

/** An image in a file that goes on with zeros, for tables that need not be made. */
const long = (image: Qcow2Description, size: number) => sparseSource(size, [{ offset: 0, bytes: buildQcow2(image) }])

const extensions = (count: number) =>
  buildQcow2({ extensions: Array.from({ length: count }, (_, type) => [type + 1, Buffer.alloc(0)]) })

/** Each L1 entry gives the same L2 table, in a file of four clusters. */
const sharedL2 = (entries: number) =>
  buildQcow2({ size: BigInt(entries) * 2n ** 21n, l1: Array<bigint>(entries).fill(8192n), length: 4 * 4096 })

const backing = (length: number) => buildQcow2({ backing: { offset: 1024, name: 'n'.repeat(length) } })
const snapshots = (count: number) => long({ snapshots: { offset: 8192n, count } }, 8 * MiB)

function extraData(length: number): Buffer {
  const entry = Buffer.alloc(40 + length)
  entry.writeUInt32BE(length, 36)
  return buildQcow2({ snapshots: { offset: 8192n, count: 1 }, pieces: [[8192, entry]] })
}

const l2At = (offset: bigint, entry: bigint, length: number) =>
  buildQcow2({ l1: [offset], pieces: [[8192, u64s([entry])]], length })

const noSnapshot = { options: { snapshot: 'none' }, later: 'usage' }

/** Fields by the names of the specification. */
export const qcow2Limits = [
  limit(
    ['cluster_bits', '9 to 21', 'QEMU', 'a cluster is held in memory; nobody makes larger ones'],
    [buildQcow2({ clusterBits: 21 }), buildQcow2({ clusterBits: 22 })],
    ['malformed', /cluster bits/],
  ),
  limit(
    ['refcount_order', '6', 'specification'],
    [buildQcow2({ refcountOrder: 6 }), buildQcow2({ refcountOrder: 7 })],
    ['malformed', /refcount order/],
  ),
  limit(
    ['header_length', 'within cluster 0', 'specification'],
    [buildQcow2({ headerLength: 4096 }), buildQcow2({ headerLength: 4104 })],
    ['malformed', /header length/],
  ),
  limit(
    ['header extensions', '256', 'ours', 'six are known; empty ones would fill a cluster with hundreds of thousands'],
    [extensions(256), extensions(257)],
    ['too-large', /header extensions/],
  ),
  limit(
    ['backing_file_size', '1023 bytes', 'specification'],
    [backing(1023), backing(1024)],
    ['too-large', /backing file name/],
  ),
  limit(
    ['l1_size', '32 MiB of entries', 'QEMU', 'the table is read at once'],
    [long({ l1Size: 2 ** 22 }, 40 * MiB), long({ l1Size: 2 ** 22 + 1 }, 40 * MiB)],
    ['too-large', /L1 table/],
  ),
  limit(
    ['l1_table_offset', "the file's end", 'specification'],
    [buildQcow2({ l1Size: 512 }), buildQcow2({ l1Size: 513 })],
    ['truncated', /L1 table/],
  ),
  limit(
    [
      'L1 entries of one L2 table',
      'as many tables as the file holds',
      'ours',
      'tables that all entries share would be read without end',
    ],
    [sharedL2(4), sharedL2(5)],
    ['malformed', /L2 tables.*do not overlap/],
  ),
  limit(
    ['L1 entry', "the file's end", 'specification'],
    [l2At(8192n, 0n, 12288), l2At(8192n, 0n, 12287)],
    ['truncated', /L2 table 0/],
  ),
  limit(
    ['L2 entry', "the file's end", 'specification'],
    [l2At(8192n, 12288n, 12289), l2At(8192n, 12288n, 12288)],
    ['truncated', /cluster offset/],
  ),
  limit(
    ['nb_snapshots', '65536', 'QEMU', 'each is read to find the one that is wanted'],
    [snapshots(65536), snapshots(65537)],
    ['too-large', /snapshots/],
    noSnapshot,
  ),
  limit(
    ['snapshot extra_data_size', '1024 bytes', 'QEMU', 'it is skipped, and tells where the next one is'],
    [extraData(1024), extraData(1025)],
    ['too-large', /extra data/],
    noSnapshot,
  ),
  limit(
    ['size', '2^53 - 1 bytes', 'ours', 'whole numbers are exact up to there; no file is longer'],
    [
      long({ size: 2n ** 53n - 1n, clusterBits: 21, l1Size: 2 ** 14 }, 40 * MiB),
      long({ size: 2n ** 53n, clusterBits: 21, l1Size: 2 ** 14 }, 40 * MiB),
    ],
    ['malformed', /beyond any file/],
  ),
]
