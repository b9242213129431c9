import type { Transform } from 'node:stream'
import zlib from 'node:zlib'
import { DiskferryError, tooLarge } from '../bytes/errors.ts'
import { asBuffer } from '../bytes/struct.ts'
import { formatSize, MiB } from '../bytes/units.ts'
import { BLOCK_HEADER_SIZE, type FrameHeader, readBlockHeader, readFrameHeader } from '../bytes/zstd.ts'
import type { SequentialReader } from './sequential-reader.ts'
import { through } from './through.ts'

/** What the zstd program holds by default. A stranger chooses the window, and all of it is held. */
const MAX_WINDOW = 128 * MiB
const MAX_HEADER_SIZE = 18
/** "Skippable frames": 16 magics, then their length. */
const SKIPPABLE = 0x184d2a50
const SKIPPABLE_HEADER_SIZE = 8

/**
 * What a file of zstd frames unpacks to. The frames are walked here, block by block: so each one's window is known before
 * it is decoded, one block's output at a time is held, and what follows the last frame is seen.
 */
export async function* unpackedFrames(reader: SequentialReader): AsyncGenerator<Uint8Array> {
  for (let head = await reader.peek(MAX_HEADER_SIZE); head.length > 0; head = await reader.peek(MAX_HEADER_SIZE)) {
    if (head.length >= SKIPPABLE_HEADER_SIZE && (head.readUInt32LE(0) & ~15) >>> 0 === SKIPPABLE) {
      await reader.skip(SKIPPABLE_HEADER_SIZE + head.readUInt32LE(4), 'a skippable zstd frame')
      continue
    }
    const header = readFrameHeader(head)
    if (header.windowSize > MAX_WINDOW) {
      const expected = `at most ${formatSize(MAX_WINDOW)}`
      throw tooLarge('zstd window', { found: header.windowSize, expected, offset: reader.position })
    }
    yield* decoded(frameBytes(reader, header), header, reader)
  }
}

/** The frame in pieces: header, each block, checksum. */
async function* frameBytes(reader: SequentialReader, header: FrameHeader): AsyncGenerator<Uint8Array> {
  yield await reader.read(header.size, 'a zstd frame')
  for (let isLast = false; !isLast; ) {
    const bytes = await reader.read(BLOCK_HEADER_SIZE, 'a zstd block')
    const block = readBlockHeader(bytes, 0)
    isLast = block.isLast
    yield bytes
    if (block.size > 0) yield await reader.read(block.size, 'a zstd block')
  }
  if (header.checksumSize > 0) yield await reader.read(header.checksumSize, 'a zstd checksum')
}

interface NativeZstd {
  createZstdDecompress(options: object): Transform
  constants: { ZSTD_d_windowLogMax: number }
}

/** Node has zstd from 22.15 on; before that JavaScript serves, slowly. */
function decoded(
  frame: AsyncGenerator<Uint8Array>,
  header: FrameHeader,
  reader: SequentialReader,
): AsyncGenerator<Uint8Array> {
  if (!('createZstdDecompress' in zlib)) return decodedByScript(frame, header, reader)
  const { createZstdDecompress, constants } = zlib as unknown as NativeZstd
  const params = { [constants.ZSTD_d_windowLogMax]: Math.log2(MAX_WINDOW) }
  return through(frame, createZstdDecompress({ params }), reader)
}

/** The decoder does not look at the checksum: that is done here. */
async function* decodedByScript(
  frame: AsyncGenerator<Uint8Array>,
  { checksumSize }: FrameHeader,
  reader: SequentialReader,
): AsyncGenerator<Uint8Array> {
  const { Decompress } = await import('fzstd')
  const hash = checksumSize > 0 ? await contentHash() : undefined
  const made: Uint8Array[] = []
  const decoder = new Decompress((bytes) => void made.push(bytes))
  const push = (bytes: Uint8Array, isLast: boolean) => {
    try {
      decoder.push(bytes, isLast)
    } catch (cause) {
      throw corrupt(reader, String(cause), 'a zstd frame', cause)
    }
    for (const bytes of made) hash?.update(bytes)
    return made.splice(0)
  }
  let held: Uint8Array | undefined
  for await (const bytes of frame) {
    if (held !== undefined) yield* push(held, false)
    held = bytes
  }
  if (held === undefined) return
  yield* push(held, true)
  const expected = hash && Number(hash.digest() & 0xffff_ffffn)
  const found = asBuffer(held)
  if (expected !== undefined && found.readUInt32LE(0) !== expected) {
    throw corrupt(reader, `checksum ${found.readUInt32LE(0)}`, `checksum ${expected}`)
  }
}

/** "Content_Checksum": the low four bytes of the content's XXH64, with seed 0. */
async function contentHash() {
  const { default: xxhash } = await import('xxhash-wasm')
  return (await xxhash()).create64()
}

function corrupt({ name, position }: SequentialReader, found: string, expected: string, cause?: unknown) {
  const detail = { found, expected, offset: position, cause }
  return new DiskferryError('corrupt-data', `${name} does not unpack: ${found}`, detail)
}
