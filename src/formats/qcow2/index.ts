import type { ImageFormat } from '../format.ts'
import { open } from './open.ts'
import { probe } from './probe.ts'
import { writer } from './writer.ts'

/** QEMU's own, versions 2 and 3. */
export const qcow2 = {
  name: 'qcow2',
  title: 'QEMU copy-on-write, versions 2 and 3',
  extensions: ['qcow2'],
  probe,
  reader: { open },
  writer,
} as const satisfies ImageFormat
