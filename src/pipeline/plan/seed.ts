import { createHash } from 'node:crypto'
import type { DiskImage } from '../../formats/format.ts'
import { PROBE_HEAD, PROBE_TAIL } from '../../formats/format.ts'
import { readClipped } from '../../io/source.ts'
import type { Survey } from './survey.ts'

/**
 * 32 bytes that stand for a source and what is asked of it. The same bytes each time, on every machine; another image,
 * or other options, give others. Hashes what is cheap to read: the source's first and last bytes, and which of its
 * units hold data.
 */
export async function seedOf(image: DiskImage, { units }: Survey, asked: unknown): Promise<Uint8Array> {
  const { source, format, virtualSize } = image
  const hash = createHash('sha256')
  hash.update(JSON.stringify({ format, virtualSize, size: source.size, unitSize: units.unitSize, asked }))
  hash.update(await readClipped(source, 0, PROBE_HEAD))
  hash.update(await readClipped(source, Math.max(0, source.size - PROBE_TAIL), PROBE_TAIL))
  hash.update(units.bits)
  return hash.digest()
}
