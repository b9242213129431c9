import { inflateRawSync } from 'node:zlib'
import { DiskferryError } from './errors.ts'

/**
 * Inflates one raw deflate stream that must give exactly `size` bytes. What follows the stream's end is ignored:
 * packed data is stored with padding. Output is capped at `size`, whatever the stream says.
 * @throws DiskferryError `corrupt-data` with `offset`, the place of the packed data in its file.
 */
export function inflateRawExactly(packed: Uint8Array, size: number, offset: number): Buffer {
  const unpacked = inflate(packed, size, offset)
  if (unpacked.length === size) return unpacked
  throw new DiskferryError('corrupt-data', `packed data inflates to ${unpacked.length} bytes instead of ${size}`, {
    found: unpacked.length,
    expected: size,
    offset,
  })
}

function inflate(packed: Uint8Array, size: number, offset: number): Buffer {
  try {
    return inflateRawSync(packed, { maxOutputLength: size, chunkSize: Math.max(64, size) })
  } catch (cause) {
    const reason = (cause as NodeJS.ErrnoException).code ?? String(cause)
    const detail = { found: reason, expected: `a deflate stream of ${size} bytes`, offset, cause }
    throw new DiskferryError('corrupt-data', `packed data at offset ${offset} does not inflate: ${reason}`, detail)
  }
}
