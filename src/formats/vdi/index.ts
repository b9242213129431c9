import type { ImageFormat } from '../format.ts'
import { open } from './open.ts'
import { probe } from './probe.ts'

/** VirtualBox's own. */
export const vdi = {
  name: 'vdi',
  title: 'VirtualBox disk image (VDI)',
  extensions: ['vdi'],
  probe,
  reader: { open },
} as const satisfies ImageFormat
