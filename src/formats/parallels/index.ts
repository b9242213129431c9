import type { ImageFormat } from '../format.ts'
import { open } from './open.ts'
import { probe } from './probe.ts'

/** Of Parallels Desktop and Virtuozzo; one `.hds` file inside of a `.hdd` folder is such an image. */
export const parallels = {
  name: 'parallels',
  title: 'Parallels expandable disk',
  extensions: ['hds', 'hdd'],
  probe,
  reader: { open },
} as const satisfies ImageFormat
