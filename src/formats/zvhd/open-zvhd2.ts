import { DiskferryError, malformed, truncated } from '../../bytes/errors.ts'
import type { CodecName } from '../../bytes/unpack.ts'
import { readExactly, type Source } from '../../io/source.ts'
import { ExtentCollector, type ExtentRows, Kind } from '../extents.ts'
import type { DiskImage } from '../format.ts'
import { headerDetails, readHeader } from './header.ts'
import {
  BLOCK_SIZE,
  Compression,
  HEADER_SIZE,
  indexEntry,
  MAX_PAYLOAD,
  RECORD_END,
  RECORD_HEADER_SIZE,
  recordSize as recordSizeOf,
  ZVHD2_COOKIE,
  type Zvhd2Header,
  zvhd2Header,
} from './spec.ts'

const CODECS: Readonly<Record<number, CodecName>> = { [Compression.zlib]: 'zlib', [Compression.zstd]: 'zstd' }
const MAX_RECORD = recordSizeOf(MAX_PAYLOAD)
/** Index entries read at once. */
const INDEX_BATCH = 4096

/** Opens a ZVHD2 by the footer in its last 4096 bytes; the index is read as it is needed. */
export async function openZvhd2(source: Source): Promise<DiskImage> {
  const offset = source.size - HEADER_SIZE
  const { bytes } = await readHeader(source, offset, ZVHD2_COOKIE)
  const footer = zvhd2Header.decode(bytes)
  const virtualSize = footer.originalSize
  const codec = codecOf(footer, offset)
  assertFooter(footer, offset)
  return {
    format: 'zvhd2',
    source,
    virtualSize,
    codecs: [{ name: codec, unitSize: BLOCK_SIZE }],
    facts: {
      variant: codec,
      features: [],
      warnings: [],
      details: { ...headerDetails(footer), blockSize: BLOCK_SIZE, storedBlocks: footer.storedBlocks },
    },
    extents: (start = 0, end = virtualSize) => indexedExtents(source, footer, start, end),
  }
}

/** How the blocks are packed, as a header or footer at `offset` says. Block size and number have been checked. */
export function codecOf(fields: Zvhd2Header, offset: number): CodecName {
  const { blockSize, blocks, originalSize, compression } = fields
  const at = (name: keyof Zvhd2Header) => offset + zvhd2Header.offsetOf(name)
  if (blockSize !== BLOCK_SIZE) {
    throw malformed('ZVHD2 block size', { found: blockSize, expected: BLOCK_SIZE, offset: at('blockSize') })
  }
  const expected = Math.ceil(originalSize / BLOCK_SIZE)
  if (blocks !== expected) throw malformed('ZVHD2 number of blocks', { found: blocks, expected, offset: at('blocks') })
  const codec = CODECS[compression]
  if (codec !== undefined) return codec
  throw new DiskferryError('unsupported-feature', `ZVHD2 compression ${compression} is not known`, {
    found: compression,
    expected: '0 (zlib) or 1 (zstd)',
    offset: at('compression'),
  })
}

function assertFooter(footer: Zvhd2Header, offset: number): void {
  const at = (name: keyof Zvhd2Header) => offset + zvhd2Header.offsetOf(name)
  const { blocks, storedBlocks, indexOffset } = footer
  if (storedBlocks > blocks) {
    throw malformed('ZVHD2 stored blocks', {
      found: storedBlocks,
      expected: `at most ${blocks}`,
      offset: at('storedBlocks'),
    })
  }
  const indexEnd = indexOffset + storedBlocks * indexEntry.size
  if (indexEnd > offset)
    throw truncated('ZVHD2 index', { found: offset, expected: indexEnd, offset: at('indexOffset') })
}

async function* indexedExtents(
  source: Source,
  footer: Zvhd2Header,
  start: number,
  end: number,
): AsyncGenerator<ExtentRows> {
  const extents = new ExtentCollector(start, end)
  const firstBlock = Math.floor(start / BLOCK_SIZE)
  let guest = firstBlock * BLOCK_SIZE
  const isWhole = end === footer.originalSize
  let entry = await findEntry(source, footer, firstBlock)
  // A walk to the disk's end looks at every entry that is left, so that none of them can lie beyond it.
  for (; entry < footer.storedBlocks && (isWhole || guest < end); entry += INDEX_BATCH) {
    const count = Math.min(INDEX_BATCH, footer.storedBlocks - entry)
    const at = footer.indexOffset + entry * indexEntry.size
    const bytes = await readExactly(source, at, count * indexEntry.size)
    for (let i = 0; i < count; i++) {
      const { offset, block, recordSize } = indexEntry.decode(bytes, i * indexEntry.size)
      const blockStart = block * BLOCK_SIZE
      assertEntry(footer, { offset, block, recordSize }, guest, at + i * indexEntry.size)
      extents.add(guest, blockStart - guest, Kind.hole)
      const packed = recordSize - RECORD_HEADER_SIZE - RECORD_END.length
      extents.add(blockStart, BLOCK_SIZE, Kind.packed, offset + RECORD_HEADER_SIZE, packed)
      guest = blockStart + BLOCK_SIZE
    }
    yield extents.take()
  }
  extents.add(guest, end - guest, Kind.hole)
  yield extents.take()
}

/** The first entry of a block at or after `block`, by halves. Whether entries ascend, the walk finds out. */
async function findEntry(source: Source, footer: Zvhd2Header, block: number): Promise<number> {
  let [low, high] = [0, block === 0 ? 0 : footer.storedBlocks]
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    const bytes = await readExactly(source, footer.indexOffset + middle * indexEntry.size, indexEntry.size)
    if (indexEntry.decode(bytes).block < block) low = middle + 1
    else high = middle
  }
  return low
}

/** Entries ascend, and their records lie in front of the index. */
function assertEntry(
  { blocks, indexOffset }: Zvhd2Header,
  { offset, block, recordSize }: { offset: number; block: number; recordSize: number },
  guest: number,
  at: number,
): void {
  const first = guest / BLOCK_SIZE
  if (block < first || block >= blocks) {
    throw malformed('ZVHD2 index entry, block', {
      found: block,
      expected: `from ${first} to ${blocks - 1}`,
      offset: at,
    })
  }
  const least = RECORD_HEADER_SIZE + RECORD_END.length
  if (recordSize <= least || recordSize > MAX_RECORD) {
    throw malformed('ZVHD2 index entry, record size', {
      found: recordSize,
      expected: `from ${least + 1} to ${MAX_RECORD}`,
      offset: at,
    })
  }
  if (offset < HEADER_SIZE || offset + recordSize > indexOffset) {
    throw truncated('ZVHD2 index entry, record', {
      found: offset,
      expected: `${HEADER_SIZE} to ${indexOffset - recordSize}`,
      offset: at,
    })
  }
}
