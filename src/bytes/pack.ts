import { constants, deflateRawSync, deflateSync } from 'node:zlib'
import type { CodecName } from './unpack.ts'
import { zstdCompress } from './zstd.ts'

export interface PackOptions {
  readonly codec: CodecName
  readonly level: number
  /** Log2 of the window that a reader needs. Default 15. */
  readonly windowBits?: number
  /** End on a sync flush, without a final block, so that more can follow. */
  readonly openEnded?: boolean
}

/** Packs one unit on its own. The same bytes give the same bytes. */
export function pack(unit: Uint8Array, { codec, level, windowBits = 15, openEnded = false }: PackOptions): Uint8Array {
  if (codec === 'zstd') return zstdCompress(unit, level)
  const finishFlush = openEnded ? constants.Z_SYNC_FLUSH : constants.Z_FINISH
  const options = { level, windowBits, finishFlush, chunkSize: packBound(unit.length) }
  return codec === 'zlib' ? deflateSync(unit, options) : deflateRawSync(unit, options)
}

/**
 * Bytes that `size` bytes pack into, at most, by any codec: zlib's own bound for windows smaller than 32 KiB
 * (`deflateBound`), which can't store what does not shrink as it is.
 */
export function packBound(size: number): number {
  return size + Math.ceil(size / 8) + Math.ceil(size / 64) + 128
}
