import { memoryCompanions } from './foreign-images.ts'
import type { FuzzSubject } from './fuzz-subjects.ts'
import { contentOf, makePattern } from './pattern.ts'
import { cowd, descriptor, seSparse, sparse, streamOptimized } from './vmdk-builder.ts'

const SECTOR = 512
const content = contentOf(makePattern(3, 2048 * SECTOR))
const stream = streamOptimized({ content: content.subarray(0, -3 * SECTOR), grain: 16 })

/** Opens an extent through a descriptor. */
const split = (type: string) => (bytes: Buffer) => ({
  bytes: descriptor([`RW 2048 ${type} "part"`]),
  ...memoryCompanions({ part: bytes }),
})

/** One of each kind of VMDK, to be damaged. */
export const vmdkSubjects: readonly Omit<FuzzSubject, 'places' | 'format'>[] = [
  {
    name: 'monolithicSparse',
    bytes: sparse({ content, zeros: [3] }, { flags: 5 }, descriptor(['RW 2048 SPARSE "x"'])),
  },
  { name: 'streamOptimized', bytes: stream },
  {
    name: 'descriptor',
    bytes: descriptor(['RW 3 ZERO', 'RW 2048 FLAT "part" 0']),
    wrap: (bytes) => ({ bytes, ...memoryCompanions({ part: content }) }),
  },
  { name: 'COWD', bytes: cowd({ content }), wrap: split('VMFSSPARSE') },
  {
    name: 'seSparse',
    bytes: seSparse({ content }),
    wrap: split('SESPARSE'),
  },
]
