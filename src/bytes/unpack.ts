import { inflateRawSync, inflateSync } from 'node:zlib'
import { DiskferryError } from './errors.ts'

/** Ways in which units of guest data are packed. */
export type CodecName = 'deflate-raw' | 'zlib'

const unpackers: Readonly<Record<CodecName, typeof inflateSync>> = { 'deflate-raw': inflateRawSync, zlib: inflateSync }

/**
 * Unpacks one unit, which must give exactly `unitSize` bytes. What follows the packed stream's end is ignored: units are
 * stored with padding. Output is capped at `unitSize`, whatever the stream says.
 * @throws DiskferryError `corrupt-data` with `offset`, the place of the packed data in its file
 */
export function unpackExactly(
  codec: { name: CodecName; unitSize: number },
  packed: Uint8Array,
  offset: number,
): Buffer {
  const unpacked = unpack(codec.name, packed, codec.unitSize, offset)
  if (unpacked.length === codec.unitSize) return unpacked
  throw new DiskferryError(
    'corrupt-data',
    `packed data unpacks to ${unpacked.length} bytes instead of ${codec.unitSize}`,
    {
      found: unpacked.length,
      expected: codec.unitSize,
      offset,
    },
  )
}

function unpack(name: CodecName, packed: Uint8Array, size: number, offset: number): Buffer {
  try {
    return unpackers[name](packed, { maxOutputLength: size, chunkSize: Math.max(64, size) })
  } catch (cause) {
    const found = (cause as NodeJS.ErrnoException).code ?? String(cause)
    const detail = { found, expected: `a ${name} stream of ${size} bytes`, offset, cause }
    throw new DiskferryError('corrupt-data', `packed data at offset ${offset} does not unpack: ${found}`, detail)
  }
}
