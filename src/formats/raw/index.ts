import { DiskferryError } from '../../bytes/errors.ts'
import { alignUp, SECTOR } from '../../bytes/units.ts'
import { flatExtents } from '../flat-extents.ts'
import type { DiskImage, ExactLayout, ImageFormat, ImageReader, ImageWriter } from '../format.ts'
import { openStream } from './stream.ts'

const reader: ImageReader = {
  async open(source): Promise<DiskImage> {
    return {
      format: 'raw',
      source,
      virtualSize: source.size,
      facts: { variant: 'raw', features: [], warnings: [], details: {} },
      extents: (start, end) => flatExtents(source, source.size, start, end),
    }
  },
}

const writer: ImageWriter<Record<never, never>> = {
  options: {},
  unitSize: () => undefined,
  plan({ virtualSize }): ExactLayout {
    const size = alignUp(virtualSize, SECTOR)
    if (!Number.isSafeInteger(size)) {
      throw new DiskferryError('target-unfit', 'a raw disk ends at 2^53 bytes', { found: virtualSize })
    }
    return {
      kind: 'exact',
      size,
      virtualSize: size,
      variant: 'raw',
      *regions() {
        if (size > 0) yield { name: 'disk', kind: 'guest', offset: 0, length: size, guest: 0 }
      },
    }
  },
}

/** The disk's bytes and nothing else. Any file can be one, so raw is what is left when no other format matches. */
export const raw = {
  name: 'raw',
  title: 'raw disk',
  extensions: ['raw', 'img', 'bin'],
  probe: () => undefined,
  reader,
  openStream,
  writer,
} as const satisfies ImageFormat
