import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'vitest'
import { expectRefusal, type Lie } from './support/malformed.ts'
import { patched, u32, u64, withBits } from './support/patch.ts'
import { createImage, qemuIo } from './support/qemu.ts'

/** Fields of the header by their offsets, from the specification. */
const At = {
  backingFileOffset: 8,
  backingFileSize: 16,
  clusterBits: 20,
  size: 24,
  l1Size: 36,
  l1Table: 40,
  refcountTable: 48,
  incompatible: 72,
  refcountOrder: 96,
  headerLength: 100,
  extensions: 112,
}

/** A disk of 1 MiB in clusters of 4 KiB: one stored, one compressed. */
const image = await makeImage({ cluster_size: 4096 }, ['write -q -P 7 0 4k', 'write -q -c -P 9 8k 4k'])
const version2 = await makeImage({ cluster_size: 4096, compat: '0.10' }, ['write -q -P 7 0 4k'])

const l1 = Number(image.readBigUInt64BE(At.l1Table))
const l2 = tableOffset(image, l1)
const l1OfVersion2 = Number(version2.readBigUInt64BE(At.l1Table))
const l2OfVersion2 = tableOffset(version2, l1OfVersion2)
const COPIED = 1n << 63n
const COMPRESSED = 1n << 62n
const beyond = BigInt(Math.ceil(image.length / 4096) * 4096)

const headerLies: Lie[] = [
  lie('no magic', patched(image, 0, [0]), 'malformed', 0),
  ...[0, 8, 22, 63, 2 ** 32 - 1].map((bits) =>
    lie(`cluster bits ${bits}`, patched(image, At.clusterBits, u32(bits)), 'malformed', At.clusterBits, bits),
  ),
  ...[0, 72, 103, 105, 8192, 2 ** 32 - 8].map((length) =>
    lie(`a header of ${length}`, patched(image, At.headerLength, u32(length)), 'malformed', At.headerLength, length),
  ),
  ...[7, 63, 2 ** 32 - 1].map((order) =>
    lie(`refcount order ${order}`, patched(image, At.refcountOrder, u32(order)), 'malformed', At.refcountOrder, order),
  ),
  ...[2n ** 53n, 2n ** 63n, 2n ** 64n - 1n].map((size) =>
    lie(`a disk of ${size} bytes`, patched(image, At.size, u64(size)), 'malformed', At.size, String(size)),
  ),
  lie('a disk larger than its L1 table', patched(image, At.size, u64(2n ** 40n)), 'malformed', At.l1Size, 1),
  lie('an L1 table without entries', patched(image, At.l1Size, u32(0)), 'malformed', At.l1Size, 0),
  lie('an L1 table of 2^32-1 entries', patched(image, At.l1Size, u32(2 ** 32 - 1)), 'too-large', At.l1Size),
  lie('an L1 table longer than the file', patched(image, At.l1Size, u32(2 ** 22)), 'truncated', At.l1Table),
  lie('an L1 table off its cluster', patched(image, At.l1Table, u64(4097n)), 'malformed', At.l1Table, 4097),
  lie('an L1 table past the end', patched(image, At.l1Table, u64(beyond)), 'truncated', At.l1Table, image.length),
  lie('an L1 table at 2^63', patched(image, At.l1Table, u64(2n ** 63n)), 'malformed', At.l1Table),
  lie('a refcount table at 2^63', patched(image, At.refcountTable, u64(2n ** 63n)), 'malformed', At.refcountTable),
  lie('a backing name past cluster 0', backing(4000n, 200), 'malformed', At.backingFileOffset, 4000),
  lie('a backing name at 2^63', backing(2n ** 63n, 10), 'malformed', At.backingFileOffset),
  lie('a backing name of 1024 bytes', backing(1024n, 1024), 'too-large', At.backingFileSize, 1024),
  lie('a backing name of 2^32-1 bytes', backing(1024n, 2 ** 32 - 1), 'too-large', At.backingFileSize),
  lie('an extension past cluster 0', extension(2 ** 32 - 1), 'malformed', At.extensions + 4),
  lie('an extension one byte past cluster 0', extension(4096 - 120 + 1), 'malformed', At.extensions + 4),
  lie('a compression type without its feature bit', patched(image, 104, [1]), 'malformed', 104, 1),
  lie('a compression type without its field', withoutCompressionField(), 'malformed', 104),
]

const tableLies: Lie[] = [
  lie('an L2 table off its cluster', entry(l1, COPIED | 0x200n), 'malformed', l1, 0x200),
  lie('an L2 table past the end', entry(l1, COPIED | beyond), 'truncated', l1, image.length),
  lie('an L2 table at the last possible place', entry(l1, COPIED | 0x00ff_ffff_ffff_f000n), 'truncated', l1),
  lie('a cluster off its place', entry(l2, COPIED | 0x1200n), 'malformed', l2, 0x1200),
  lie('a cluster past the end', entry(l2, COPIED | beyond), 'truncated', l2, Number(beyond)),
  lie('a cluster at the last possible place', entry(l2, COPIED | 0x00ff_ffff_ffff_f000n), 'truncated', l2),
  lie('a compressed cluster past the end', entry(l2, COMPRESSED | beyond), 'truncated', l2, Number(beyond)),
  lie('a compressed cluster at the last possible place', entry(l2, COMPRESSED | (2n ** 58n - 1n)), 'truncated', l2),
  lie('a compressed cluster of something else', entry(l2, COMPRESSED | 0x8n), 'corrupt-data', undefined),
  {
    lie: 'a zero cluster in version 2',
    image: patched(version2, l2OfVersion2, u64(1n)),
    code: 'malformed',
    offset: l2OfVersion2,
  },
]

const shortFiles: Lie[] = [
  ...[0, 3, 71, 103].map((length) => lie(`${length} bytes`, image.subarray(0, length), 'malformed', 0, length)),
  lie('a header and no more', image.subarray(0, 512), 'truncated', At.l1Table, 512),
  lie('half an L1 table', image.subarray(0, l1 + 4), 'truncated', At.l1Table, l1 + 4),
  lie('half an L2 table', image.subarray(0, l2 + 2048), 'truncated', l1, l2 + 2048),
]

describe('a qcow2 with a header that lies', () => {
  it.each(headerLies)('is refused: $lie', (case_) => expectRefusal(case_, 'qcow2'))
})

describe('a qcow2 with tables that lie', () => {
  it.each(tableLies)('is refused: $lie', (case_) => expectRefusal(case_, 'qcow2'))
})

describe('a qcow2 cut short', () => {
  it.each(shortFiles)('is refused: $lie', (case_) => expectRefusal(case_, 'qcow2'))
})

async function makeImage(options: Record<string, string | number>, commands: string[]): Promise<Buffer> {
  const folder = mkdtempSync(join(tmpdir(), 'diskferry-test-'))
  try {
    const path = join(folder, 'small.qcow2')
    await createImage(path, 'qcow2', 2 ** 20, { options })
    await qemuIo(path, 'qcow2', commands)
    return readFileSync(path)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function lie(what: string, bytes: Buffer, code: Lie['code'], offset?: number, found?: string | number): Lie {
  return {
    lie: what,
    image: bytes,
    code,
    ...(offset !== undefined && { offset }),
    ...(found !== undefined && { found }),
  }
}

function tableOffset(bytes: Buffer, at: number): number {
  return Number(bytes.readBigUInt64BE(at) & 0x00ff_ffff_ffff_fe00n)
}

function entry(at: number, value: bigint): Buffer {
  return patched(image, at, u64(value))
}

function backing(offset: bigint, size: number): Buffer {
  return patched(patched(image, At.backingFileOffset, u64(offset)), At.backingFileSize, u32(size))
}

function extension(length: number): Buffer {
  return patched(patched(image, At.extensions, u32(0x12345678)), At.extensions + 4, u32(length))
}

function withoutCompressionField(): Buffer {
  return withBits(patched(image, At.headerLength, u32(104)), At.incompatible + 7, 1 << 3)
}
