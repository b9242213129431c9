import { malformed, truncated } from '../../bytes/errors.ts'
import { asBuffer } from '../../bytes/struct.ts'
import { SECTOR } from '../../bytes/units.ts'
import { readExactly, type Source } from '../../io/source.ts'
import { checksum, HEADER_SIZE, type ZvhdHeader, zvhdHeader } from './spec.ts'

/** What vendors' readers compare of a cookie. */
const COOKIE_COMPARED = 6

/** Reads a header or footer and checks what both formats share. */
export async function readHeader(
  source: Source,
  offset: number,
  cookie: string,
): Promise<{ bytes: Buffer; fields: ZvhdHeader }> {
  if (offset < 0 || offset + HEADER_SIZE > source.size) {
    throw truncated('ZVHD header', { found: source.size, expected: `at least ${2 * HEADER_SIZE}`, offset: 0 })
  }
  const bytes = asBuffer(await readExactly(source, offset, HEADER_SIZE))
  return { bytes, fields: checkHeader(bytes, offset, cookie) }
}

/** The fields of a header or footer that lies at `offset` of its file. */
export function checkHeader(bytes: Buffer, offset: number, cookie: string): ZvhdHeader {
  const fields = zvhdHeader.decode(bytes)
  if (fields.cookie.slice(0, COOKIE_COMPARED) !== cookie.slice(0, COOKIE_COMPARED)) {
    throw malformed('ZVHD cookie', {
      found: JSON.stringify(fields.cookie),
      expected: cookie.slice(0, COOKIE_COMPARED),
      offset,
    })
  }
  const computed = checksum(bytes)
  if (fields.checksum !== computed) {
    const at = offset + zvhdHeader.offsetOf('checksum')
    throw malformed('ZVHD header checksum', { found: fields.checksum, expected: computed, offset: at })
  }
  if (fields.originalSize % SECTOR !== 0) {
    const at = offset + zvhdHeader.offsetOf('originalSize')
    throw malformed('ZVHD original size', { found: fields.originalSize, expected: 'a multiple of 512', offset: at })
  }
  return fields
}

/** What people are told of either format. */
export function headerDetails(fields: ZvhdHeader) {
  return {
    currentSize: fields.currentSize,
    creatorVersion: `${fields.creatorVersion >>> 16}.${fields.creatorVersion & 0xffff}`,
    uniqueId: Buffer.from(fields.uniqueId).toString('hex'),
  }
}
