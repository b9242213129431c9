import { describe, it } from 'vitest'
import { expectRefusal, type Lie } from './support/malformed.ts'
import { patched, u32, u64 } from './support/patch.ts'
import { noise } from './support/pattern.ts'
import { buildFixedVhd, buildVhd, resealed } from './support/vhd-builder.ts'

const BLOCK = 64 * 1024
const FOOTER = 512
const HEADER_AT = 512
const TABLE_AT = 1536

/** Fields by their offsets in their structures, from the specification. */
const Footer = { version: 12, dataOffset: 16, currentSize: 48, diskType: 60, checksum: 64 }
const Header = { cookie: 0, tableOffset: 16, maxTableEntries: 28, blockSize: 32, checksum: 36 }

/** A disk of four blocks and one sector, of which 2 and 0 are stored. */
const size = 4 * BLOCK + 512
const image = buildVhd({
  size,
  blockSize: BLOCK,
  blocks: [2, 0].map((block) => ({ block, data: noise(block + 1, BLOCK) })),
})
const fixed = buildFixedVhd({ size: BLOCK }, noise(3, BLOCK))
const lastFooter = image.length - FOOTER

const footerLies: Lie[] = [
  lie('both checksums wrong', withFooters(Footer.checksum, u32(1), false), 'malformed', { offset: lastFooter }),
  lie('no header where it should be', withFooters(Footer.dataOffset, u64(1024n)), 'malformed', { offset: 1024 }),
  lie('a header past the end', withFooters(Footer.dataOffset, u64(BigInt(lastFooter))), 'truncated', {
    found: image.length,
  }),
  lie('a header at 2^63', withFooters(Footer.dataOffset, u64(2n ** 63n)), 'truncated', { found: image.length }),
  lie('a header at all ones', withFooters(Footer.dataOffset, u64(2n ** 64n - 1n)), 'truncated', {}),
  lie('a disk of 2^63 bytes', withFooters(Footer.currentSize, u64(2n ** 63n)), 'malformed', {
    found: String(2n ** 63n),
  }),
  lie('a disk that is no whole sector', withFooters(Footer.currentSize, u64(1000n)), 'malformed', {
    offset: 48,
    found: '1000',
  }),
  lie('a disk of 2^52 bytes', withFooters(Footer.currentSize, u64(2n ** 52n)), 'too-large', { found: 2 ** 52 }),
  lie('a disk larger than its table', withFooters(Footer.currentSize, u64(2n ** 40n)), 'malformed', { found: 5 }),
  lie('a fixed disk of 2^52 bytes', fixedOfSize(2n ** 52n), 'truncated', { found: BLOCK, expected: 2 ** 52 }),
  lie('a fixed disk of 2^63 bytes', fixedOfSize(2n ** 63n), 'malformed', { offset: 48 }),
]

const headerLies: Lie[] = [
  lie('no cookie', withHeader(Header.cookie, [0]), 'malformed', { offset: HEADER_AT }),
  lie('a wrong checksum', patched(image, HEADER_AT + 100, [1]), 'malformed', { offset: HEADER_AT + Header.checksum }),
  ...[0, 3, 256, 65_537, 2 ** 32 - 1].map((blockSize) =>
    lie(`blocks of ${blockSize} bytes`, withHeader(Header.blockSize, u32(blockSize)), 'malformed', {
      offset: HEADER_AT + Header.blockSize,
      found: blockSize,
    }),
  ),
  lie('blocks of 2^31 bytes', withHeader(Header.blockSize, u32(2 ** 31)), 'too-large', {
    offset: HEADER_AT + Header.blockSize,
    found: 2 ** 31,
  }),
  ...[0, 4].map((entries) =>
    lie(`a table of ${entries} entries`, withHeader(Header.maxTableEntries, u32(entries)), 'malformed', {
      found: entries,
    }),
  ),
  ...[BigInt(image.length - 16), BigInt(image.length), 2n ** 63n, 2n ** 64n - 1n].map((at) =>
    lie(`a table at ${at}`, withHeader(Header.tableOffset, u64(at)), 'truncated', { found: image.length }),
  ),
]

const tableLies: Lie[] = [
  ...[Math.ceil(image.length / 512), 2 ** 31, 2 ** 32 - 2].map((sector) =>
    lie(`block 1 at sector ${sector}`, withEntry(1, sector), 'truncated', {
      found: image.length,
      offset: TABLE_AT + 4,
    }),
  ),
  lie('block 1 half past the end', withEntry(1, image.length / 512 - 64), 'truncated', { offset: TABLE_AT + 4 }),
  lie('the last block just past the end', withEntry(4, image.length / 512 - 1), 'truncated', { offset: TABLE_AT + 16 }),
]

const shortFiles: Lie[] = [
  ...[0, 1, 300, 510].map((length) => lie(`${length} bytes`, image.subarray(0, length), 'malformed', {})),
  lie('a footer and no more', image.subarray(0, 512), 'truncated', { found: 512, offset: HEADER_AT }),
  lie('half a header', image.subarray(0, 1024), 'truncated', { found: 1024, offset: HEADER_AT }),
  lie('half a table', image.subarray(0, TABLE_AT + 10), 'truncated', { found: TABLE_AT + 10 }),
  lie('half the blocks', image.subarray(0, 2048 + 512 + BLOCK + 512), 'truncated', { offset: TABLE_AT }),
]

describe('a VHD with footers that lie', () => {
  it.each(footerLies)('is refused: $lie', (case_) => expectRefusal(case_, 'vhd'))
})

describe('a VHD with a header that lies', () => {
  it.each(headerLies)('is refused: $lie', (case_) => expectRefusal(case_, 'vhd'))
})

describe('a VHD with a table that lies', () => {
  it.each(tableLies)('is refused: $lie', (case_) => expectRefusal(case_, 'vhd'))
})

describe('a VHD cut short', () => {
  it.each(shortFiles)('is refused: $lie', (case_) => expectRefusal(case_, 'vhd'))
})

function lie(what: string, bytes: Buffer, code: Lie['code'], facts: Partial<Lie>): Lie {
  return { lie: what, image: bytes, code, ...facts }
}

/** The same change to both footers, by default with checksums to match. */
function withFooters(field: number, bytes: Uint8Array, seal = true): Buffer {
  const changed = patched(image.subarray(0, FOOTER), field, bytes)
  const footer = seal ? resealed(changed, Footer.checksum) : changed
  return patched(patched(image, 0, footer), lastFooter, footer)
}

function withHeader(field: number, bytes: Uint8Array | readonly number[]): Buffer {
  const header = patched(image.subarray(HEADER_AT, TABLE_AT), field, bytes)
  return patched(image, HEADER_AT, resealed(header, Header.checksum))
}

function withEntry(block: number, sector: number): Buffer {
  return patched(image, TABLE_AT + block * 4, u32(sector))
}

function fixedOfSize(bytes: bigint): Buffer {
  const footer = patched(fixed.subarray(BLOCK), Footer.currentSize, u64(bytes))
  return patched(fixed, BLOCK, resealed(footer, Footer.checksum))
}
