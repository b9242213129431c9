import { joinSources } from '../../io/join-sources.ts'
import { OutOfRequests } from '../../io/out-of-requests.ts'
import type { Source } from '../../io/source.ts'
import { ExtentCollector, type ExtentRows, Kind } from '../extents.ts'
import type { DiskImage } from '../format.ts'
import { DecodedSource } from './decoded-source.ts'
import { headerDetails, readHeader } from './header.ts'
import { type RecordTable, walkRecords } from './records.ts'
import { References } from './references.ts'
import { BLOCK_SIZE, HEADER_SIZE, ZVHD_COOKIE } from './spec.ts'

/** Records that are looked at together. */
const BATCH = 16

/**
 * Opens a ZVHD. It has no index: one walk over the record headers finds the blocks. A record that refers to none before
 * it is a packed extent, which any thread can inflate; the others are stored extents of a source that inflates them in
 * their order, and that lies behind the file.
 */
export async function open(source: Source): Promise<DiskImage> {
  const { fields } = await readHeader(source, 0, ZVHD_COOKIE)
  await readHeader(source, source.size - HEADER_SIZE, ZVHD_COOKIE)
  const virtualSize = fields.originalSize
  const details = { ...headerDetails(fields), blockSize: BLOCK_SIZE }
  const image = {
    format: 'zvhd',
    source,
    virtualSize,
    facts: { variant: 'zvhd', features: [], warnings: [], details },
  } as const
  const records = await walkRecords(source, Math.ceil(virtualSize / BLOCK_SIZE)).catch(outOfRequests)
  if (records instanceof OutOfRequests) return { ...image, extents: () => throwing(records) }
  const references = new References(source, records)
  return {
    ...image,
    source: joinSources([source, new DecodedSource(source, records, references)], source.name),
    codecs: [{ name: 'deflate-segment', unitSize: BLOCK_SIZE }],
    unpacksFromStart: true,
    facts: { ...image.facts, details: { ...details, storedBlocks: records.count } },
    extents: (start = 0, end = virtualSize) => recordExtents(records, references, source.size, start, end),
  }
}

/** An image can be told of by its header where its records would cost more requests than the caller allows. */
function outOfRequests(error: unknown): OutOfRequests {
  if (error instanceof OutOfRequests) return error
  throw error
}

function throwing(error: Error): never {
  throw error
}

/** `decoded` is where the source of inflated records begins. */
async function* recordExtents(
  records: RecordTable,
  references: References,
  decoded: number,
  start: number,
  end: number,
): AsyncGenerator<ExtentRows> {
  const extents = new ExtentCollector(start, end)
  const behind = records.find(Math.ceil(end / BLOCK_SIZE))
  let guest = 0
  for (let first = records.find(Math.floor(start / BLOCK_SIZE)); first < behind; first += BATCH) {
    const batch = Array.from({ length: Math.min(BATCH, behind - first) }, (_, i) => first + i)
    const refer = await Promise.all(batch.map((record) => references.hasReference(record)))
    for (const [i, record] of batch.entries()) {
      const block = records.block(record) * BLOCK_SIZE
      const { offset, size } = records.segment(record)
      extents.add(guest, block - guest, Kind.hole)
      if (refer[i]) extents.add(block, BLOCK_SIZE, Kind.stored, decoded + record * BLOCK_SIZE)
      else extents.add(block, BLOCK_SIZE, Kind.packed, offset, size)
      guest = block + BLOCK_SIZE
    }
    yield extents.take()
  }
  extents.add(guest, end - guest, Kind.hole)
  yield extents.take()
}
