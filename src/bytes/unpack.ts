import { constants, inflateRawSync, inflateSync } from 'node:zlib'
import { DiskferryError } from './errors.ts'
import { loadLibdeflate } from './libdeflate.ts'
import type { Compressor } from './pack.ts'
import { loadZstd, zstdDecompress } from './zstd.ts'

/**
 * Ways in which units of guest data are packed. A `deflate-segment` ends on a sync flush, without a final block: the next
 * unit's segment goes on with the same stream.
 */
export type CodecName = 'deflate-raw' | 'deflate-segment' | 'zlib' | 'zstd'

/** Must have been awaited in this thread before a unit is packed or unpacked. */
export async function loadCodecs(names: readonly (CodecName | Compressor)[]): Promise<void> {
  if (names.includes('zstd')) await loadZstd()
  if (names.includes('libdeflate')) await loadLibdeflate()
}

const unpackers: Readonly<Record<CodecName, (packed: Uint8Array, size: number) => Uint8Array>> = {
  'deflate-raw': (packed, size) => inflateRawSync(packed, bounds(size)),
  'deflate-segment': (packed, size) => inflateRawSync(packed, { ...bounds(size), finishFlush: constants.Z_SYNC_FLUSH }),
  zlib: (packed, size) => inflateSync(packed, bounds(size)),
  zstd: zstdDecompress,
}

function bounds(size: number) {
  return { maxOutputLength: size, chunkSize: Math.max(64, size) }
}

/**
 * Unpacks one unit, which must give exactly `unitSize` bytes. What follows the packed stream's end is ignored: units are
 * stored with padding. Output is capped at `unitSize`, whatever the stream says.
 * @throws DiskferryError `corrupt-data` with `offset`, the place of the packed data in its file
 */
export function unpackExactly(
  { name, unitSize }: { name: CodecName; unitSize: number },
  packed: Uint8Array,
  offset: number,
): Uint8Array {
  const unpacked = unpack(name, packed, unitSize, offset)
  if (unpacked.length === unitSize) return unpacked
  throw new DiskferryError('corrupt-data', `packed data unpacks to ${unpacked.length} bytes instead of ${unitSize}`, {
    found: unpacked.length,
    expected: unitSize,
    offset,
  })
}

function unpack(name: CodecName, packed: Uint8Array, size: number, offset: number): Uint8Array {
  try {
    return unpackers[name](packed, size)
  } catch (cause) {
    const found = (cause as NodeJS.ErrnoException).code ?? String(cause)
    const detail = { found, expected: `a ${name} stream of ${size} bytes`, offset, cause }
    throw new DiskferryError('corrupt-data', `packed data at offset ${offset} does not unpack: ${found}`, detail)
  }
}
