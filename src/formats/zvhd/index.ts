import type { ImageFormat } from '../format.ts'
import { open } from './open.ts'
import { openZvhd2 } from './open-zvhd2.ts'
import { zvhd2Writer, zvhdWriter } from './plan.ts'
import { probeZvhd, probeZvhd2 } from './probe.ts'
import { openStream } from './stream.ts'
import { openZvhd2Stream } from './stream-zvhd2.ts'

/** Huawei Cloud's compressed VHD: blocks as one deflate stream, no index. */
export const zvhd = {
  name: 'zvhd',
  title: 'ZVHD, compressed by zlib',
  extensions: ['zvhd'],
  probe: probeZvhd,
  reader: { open },
  openStream,
  writer: zvhdWriter,
} as const satisfies ImageFormat

/** Its successor: blocks packed each on its own, with an index, so that they can be loaded when they are needed. */
export const zvhd2 = {
  name: 'zvhd2',
  title: 'ZVHD2, compressed by zstd',
  extensions: ['zvhd2'],
  probe: probeZvhd2,
  reader: { open: openZvhd2 },
  openStream: openZvhd2Stream,
  writer: zvhd2Writer,
} as const satisfies ImageFormat
