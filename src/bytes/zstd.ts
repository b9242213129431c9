import zlib from 'node:zlib'
import { DiskferryError, malformed } from './errors.ts'
import { asBuffer } from './struct.ts'

/**
 * Zstandard (RFC 8878), one frame at a time. Node has it from 22.15 on; before that a WebAssembly build serves.
 */
interface Zstd {
  compress(bytes: Uint8Array, level: number): Uint8Array
  /** Gives at most `size` bytes. */
  decompress(frame: Uint8Array, size: number): Uint8Array
}

let loaded: Zstd | undefined

/** Must have been awaited in this thread before a frame is packed or unpacked. */
export async function loadZstd(): Promise<void> {
  loaded ??= nativeZstd() ?? (await wasmZstd())
}

/** Whether this Node has zstd built in. */
export function hasNativeZstd(): boolean {
  return 'zstdCompressSync' in zlib
}

interface NativeZstd {
  zstdCompressSync(bytes: Uint8Array, options: object): Buffer
  zstdDecompressSync(bytes: Uint8Array, options: object): Buffer
  constants: { ZSTD_c_compressionLevel: number }
}

function nativeZstd(): Zstd | undefined {
  if (!hasNativeZstd()) return undefined
  const { zstdCompressSync, zstdDecompressSync, constants } = zlib as unknown as NativeZstd
  return {
    compress: (bytes, level) =>
      zstdCompressSync(bytes, { pledgedSrcSize: bytes.length, params: { [constants.ZSTD_c_compressionLevel]: level } }),
    decompress: (frame, size) => zstdDecompressSync(frame, { maxOutputLength: size, chunkSize: Math.max(64, size) }),
  }
}

async function wasmZstd(): Promise<Zstd> {
  const { init, compress, decompress } = await import('@bokuweb/zstd-wasm')
  await init()
  return { compress, decompress: (frame, size) => decompress(frame, { defaultHeapSize: size }) }
}

function zstd(): Zstd {
  if (loaded === undefined) throw new DiskferryError('plan-violated', 'zstd was used before it was loaded')
  return loaded
}

/** One frame that holds `bytes`, its content size included. */
export function zstdCompress(bytes: Uint8Array, level: number): Uint8Array {
  return zstd().compress(bytes, level)
}

/**
 * Unpacks the frame that `packed` begins with; what follows it is ignored. A frame that says that it holds more than
 * `size` bytes is refused before anything is allocated for it.
 */
export function zstdDecompress(packed: Uint8Array, size: number): Uint8Array {
  const { length, contentSize } = measureFrame(packed)
  if (contentSize !== undefined && contentSize > size) {
    throw malformed('zstd frame content size', { found: contentSize, expected: `at most ${size}` })
  }
  return zstd().decompress(packed.subarray(0, length), size)
}

const MAGIC = 0xfd2fb528
const MAGIC_SIZE = 4
export const BLOCK_HEADER_SIZE = 3
const CHECKSUM_SIZE = 4
const RLE_BLOCK = 1
const DICTIONARY_ID_SIZES = [0, 1, 2, 4]

/** Section 3.1.1: magic, header, blocks, checksum. Frames lie in padded places, so their end has to be found. */
function measureFrame(packed: Uint8Array): { length: number; contentSize: number | undefined } {
  const view = asBuffer(packed)
  const header = readFrameHeader(view)
  let at = header.size
  for (let isLast = false; !isLast; ) {
    if (at + BLOCK_HEADER_SIZE > view.length) throw cut('block')
    const block = readBlockHeader(view, at)
    isLast = block.isLast
    at += BLOCK_HEADER_SIZE + block.size
  }
  const length = at + header.checksumSize
  if (length > view.length) throw cut('end')
  return { length, contentSize: header.contentSize }
}

/** What a frame says of itself in front of its blocks. Sizes in bytes. */
export interface FrameHeader {
  readonly size: number
  readonly contentSize: number | undefined
  /** Memory that its decoder needs, at least. */
  readonly windowSize: number
  readonly checksumSize: number
}

/** "Frame_Header" with the magic in front of it. */
export function readFrameHeader(view: Buffer): FrameHeader {
  if (view.length < MAGIC_SIZE + 2 || view.readUInt32LE(0) !== MAGIC) throw cut('magic')
  const descriptor = view[MAGIC_SIZE] as number
  const isSingleSegment = (descriptor & 0x20) !== 0
  const contentSizeAt = MAGIC_SIZE + 1 + (isSingleSegment ? 0 : 1) + (DICTIONARY_ID_SIZES[descriptor & 3] as number)
  const contentSizeBytes = contentSizeWidth(descriptor >> 6, isSingleSegment)
  const size = contentSizeAt + contentSizeBytes
  if (size > view.length) throw cut('header')
  const contentSize = readContentSize(view, contentSizeAt, contentSizeBytes)
  const windowSize = isSingleSegment ? (contentSize ?? 0) : windowSizeOf(view[MAGIC_SIZE + 1] as number)
  return { size, contentSize, windowSize, checksumSize: (descriptor & 4) === 0 ? 0 : CHECKSUM_SIZE }
}

/** "Window_Descriptor": an exponent in its five high bits, eighths in the three low ones. */
function windowSizeOf(descriptor: number): number {
  const base = 2 ** (10 + (descriptor >> 3))
  return base + (base / 8) * (descriptor & 7)
}

/** "Block_Header": `size` is what follows it in the frame. */
export function readBlockHeader(view: Buffer, at: number): { isLast: boolean; size: number } {
  const header = view.readUIntLE(at, BLOCK_HEADER_SIZE)
  return { isLast: (header & 1) === 1, size: ((header >> 1) & 3) === RLE_BLOCK ? 1 : header >> 3 }
}

function contentSizeWidth(flag: number, isSingleSegment: boolean): number {
  return flag === 0 ? (isSingleSegment ? 1 : 0) : 2 ** flag
}

function readContentSize(view: Buffer, at: number, width: number): number | undefined {
  if (width === 0) return undefined
  if (width === 8) return Number(view.readBigUInt64LE(at))
  const value = view.readUIntLE(at, width)
  return width === 2 ? value + 256 : value
}

function cut(part: string): DiskferryError {
  return malformed(`zstd frame ${part}`, { found: 'other bytes, or too few', expected: 'a whole frame' })
}
