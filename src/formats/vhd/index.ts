import type { ImageFormat } from '../format.ts'
import { open } from './open.ts'
import { writer } from './plan.ts'
import { probe } from './probe.ts'
import { openStream } from './stream.ts'

/** Virtual PC, Hyper-V and Azure. Also called VPC. */
export const vhd = {
  name: 'vhd',
  title: 'Virtual Hard Disk (VHD, VPC)',
  extensions: ['vhd', 'vpc'],
  probe,
  reader: { open },
  openStream,
  writer,
} as const satisfies ImageFormat
