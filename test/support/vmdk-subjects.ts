import { memoryCompanions } from './foreign-images.ts'
import { contentOf, makePattern } from './pattern.ts'
import type { FuzzSubject } from './reader-fuzz.ts'
import { cowd, descriptor, seSparse, sparse, streamOptimized } from './vmdk-builder.ts'

const SECTOR = 512
const HEADER = [0, 80] as const
const content = contentOf(makePattern(3, 2048 * SECTOR))
const stream = streamOptimized({ content: content.subarray(0, -3 * SECTOR), grain: 16 })

/** Opens an extent through a descriptor. */
const split = (type: string) => (bytes: Buffer) => ({
  bytes: descriptor([`RW 2048 ${type} "part"`]),
  ...memoryCompanions({ part: bytes }),
})

/** One of each kind of VMDK, to be damaged. */
export const vmdkSubjects: readonly FuzzSubject[] = [
  {
    name: 'monolithicSparse',
    bytes: sparse({ content, zeros: [3] }, { flags: 5 }, descriptor(['RW 2048 SPARSE "x"'])),
    places: [HEADER, [SECTOR, 400], [24 * SECTOR, 8], [25 * SECTOR, 64]],
  },
  { name: 'streamOptimized', bytes: stream, places: [HEADER, [stream.length - 6000, 6000]] },
  {
    name: 'descriptor',
    bytes: descriptor(['RW 3 ZERO', 'RW 2048 FLAT "part" 0']),
    places: [HEADER, [80, 200]],
    wrap: (bytes) => ({ bytes, ...memoryCompanions({ part: content }) }),
  },
  { name: 'COWD', bytes: cowd({ content }), places: [HEADER, [4 * SECTOR, 8000]], wrap: split('VMFSSPARSE') },
  {
    name: 'seSparse',
    bytes: seSparse({ content }),
    places: [
      [0, 208],
      [SECTOR, 40],
      [16 * SECTOR, 64],
      [24 * SECTOR, 2000],
    ],
    wrap: split('SESPARSE'),
  },
]
