import { readFile, writeFile } from 'node:fs/promises'
import { constants, createDeflate } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { convert, describeExtents, memorySource, openImage } from '../src/index.ts'
import { convertToBytes, firstDifference } from './support/convert.ts'
import { contentOf, makePattern, noise } from './support/pattern.ts'
import { tempFolder } from './support/temp-folder.ts'
import { decodeZvhd } from './support/zvhd-decoder.ts'

const path = tempFolder()
const BLOCK = 2 ** 21

/** A source that notes how much is read of it. */
function counted(bytes: Uint8Array) {
  const source = memorySource(bytes)
  const seen = { bytes: 0 }
  const read = (offset: number, length: number) => {
    seen.bytes += length
    return source.read(offset, length)
  }
  return { source: { ...source, read }, seen }
}

async function kindsOf(bytes: Uint8Array): Promise<string[]> {
  const image = await openImage(memorySource(bytes), { from: 'zvhd' })
  const kinds: string[] = []
  for await (const rows of image.extents()) kinds.push(...describeExtents(rows).map(({ kind }) => kind))
  return kinds
}

/** As the vendor writes: one deflate stream over all blocks, a sync flush behind each. `front` is a ZVHD of the same disk. */
async function asOneStream(disk: Buffer, front: Buffer): Promise<Buffer> {
  const deflate = createDeflate({ level: 6 })
  const parts: Buffer[] = []
  deflate.on('data', (part: Buffer) => parts.push(part))
  const records: Buffer[] = []
  for (let block = 0; block * BLOCK < disk.length; block++) {
    deflate.write(disk.subarray(block * BLOCK, (block + 1) * BLOCK))
    await new Promise<void>((resolve) => deflate.flush(constants.Z_SYNC_FLUSH, () => resolve()))
    records.push(record(block, Buffer.concat(parts.splice(0))))
  }
  return Buffer.concat([front.subarray(0, 4096), ...records, front.subarray(0, 4096)])
}

function record(block: number, payload: Buffer): Buffer {
  const bytes = Buffer.alloc(Math.ceil((48 + payload.length + 4) / 4096) * 4096)
  bytes.write('hwstream bg\0', 'latin1')
  bytes.writeUInt32LE(payload.length, 12)
  bytes.writeUInt32LE(block, 16)
  bytes.set(payload, 48)
  bytes.write('end\0', bytes.length - 4, 'latin1')
  return bytes
}

/** Two blocks: the second repeats the end of the first at `at`, from `back` bytes before its own start. */
function repeating(at: number, back: number): Buffer {
  const disk = noise(at + back, 2 * BLOCK)
  disk.copy(disk, BLOCK + at, BLOCK - back, BLOCK - back + Math.min(back, 300))
  return disk
}

const made = async (disk: Buffer) => asOneStream(disk, await convertToBytes({ source: disk, from: 'raw', to: 'zvhd' }))

describe('records of a ZVHD', () => {
  it('written here are packed extents, which any thread inflates', async () => {
    const disk = noise(1, 2 * BLOCK)
    const bytes = await convertToBytes({ source: disk, from: 'raw', to: 'zvhd' })
    expect(await kindsOf(bytes)).toEqual(['packed', 'packed'])
  })

  it.each([
    ['at its start', 0, 300, true],
    ['as far in as zlib reaches back', 31_500, 600, true],
    ['not at all, since it is out of reach', 32_600, 600, false],
  ] as const)('that repeat the one before %s', async (_, at, back, refers) => {
    const disk = repeating(at, back)
    const bytes = await made(disk)
    expect(firstDifference(decodeZvhd(bytes).disk, disk)).toBeUndefined()
    expect(await kindsOf(bytes)).toEqual(['packed', refers ? 'stored' : 'packed'])
    expect(firstDifference(await convertToBytes({ source: bytes, to: 'raw' }), disk)).toBeUndefined()
  })

  it('of which all but the first refer back are inflated in their order', async () => {
    const disk = Buffer.concat(Array.from({ length: 17 }, (_, i) => Buffer.alloc(BLOCK, noise(i >> 2, 20_000))))
    const bytes = await made(disk)
    expect((await kindsOf(bytes)).slice(0, 2)).toEqual(['packed', 'stored'])
    await writeFile(path('chain.zvhd'), bytes)
    await convert({ source: path('chain.zvhd'), to: 'raw', target: path('chain.raw'), threads: 2 })
    expect(firstDifference(await readFile(path('chain.raw')), disk)).toBeUndefined()
  })

  it('are counted when it is opened, and none is inflated', async () => {
    const disk = contentOf(makePattern(3, 9 * BLOCK))
    const bytes = await convertToBytes({ source: disk, from: 'raw', to: 'zvhd' })
    const { records } = decodeZvhd(bytes)
    const { source, seen } = counted(bytes)
    const { facts } = await openImage(source, { from: 'zvhd' })
    expect(facts.details.storedBlocks).toBe(records.length)
    expect(seen.bytes).toBeLessThanOrEqual(2 * 4096 + records.length * (48 + 4))
  })
})
