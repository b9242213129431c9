import type { ImageFormat } from '../format.ts'
import { open } from './open.ts'
import { writer } from './plan.ts'
import { probe } from './probe.ts'
import { openStream } from './stream.ts'

/** VMware's own, in one file or in many. */
export const vmdk = {
  name: 'vmdk',
  title: 'VMware disk (VMDK)',
  extensions: ['vmdk'],
  probe,
  reader: { open },
  openStream,
  writer,
} as const satisfies ImageFormat
