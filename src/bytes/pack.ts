import { constants, deflateRawSync, deflateSync } from 'node:zlib'
import { libdeflateZlib } from './libdeflate.ts'
import type { CodecName } from './unpack.ts'
import { zstdCompress } from './zstd.ts'

/** What makes zlib streams: Node's own, or a package that is faster where it is installed. */
export type Compressor = 'zlib' | 'libdeflate'

export interface PackOptions {
  readonly codec: CodecName
  readonly level: number
  /** Log2 of the window that a reader needs. Default 15. */
  readonly windowBits?: number
  /** For the codec `zlib` alone. Default `zlib`. */
  readonly compressor?: Compressor
}

/** The most: hash chains of full length cost 128 KiB more, and 7 % less time at level 6. */
const MEMORY_LEVEL = 9

/** Packs one unit on its own. The same bytes give the same bytes. */
export function pack(unit: Uint8Array, packing: PackOptions): Uint8Array {
  const { codec, level, windowBits = 15, compressor } = packing
  if (codec === 'zstd') return zstdCompress(unit, level)
  if (codec === 'zlib' && compressor === 'libdeflate') return libdeflateZlib(unit, level)
  const finishFlush = codec === 'deflate-segment' ? constants.Z_SYNC_FLUSH : constants.Z_FINISH
  const options = { level, windowBits, memLevel: MEMORY_LEVEL, finishFlush, chunkSize: packBound(unit.length) }
  return codec === 'zlib' ? deflateSync(unit, options) : deflateRawSync(unit, options)
}

/**
 * Bytes that `size` bytes pack into, at most, by any codec: zlib's own bound for windows smaller than 32 KiB
 * (`deflateBound`), which can't store what does not shrink as it is.
 */
export function packBound(size: number): number {
  return size + Math.ceil(size / 8) + Math.ceil(size / 64) + 128
}
