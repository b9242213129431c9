import type { ImageFormat } from '../format.ts'
import { open } from './open.ts'
import { probe } from './probe.ts'

/** Hyper-V's second format. */
export const vhdx = {
  name: 'vhdx',
  title: 'Virtual Hard Disk v2 (VHDX)',
  extensions: ['vhdx'],
  probe,
  reader: { open },
} as const satisfies ImageFormat
