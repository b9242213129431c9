import { expect, it } from 'vitest'
import { type Companions, memorySource } from '../src/index.ts'
import { convertToBytes, firstDifference } from './support/convert.ts'
import { contentOf, fullPattern, noise } from './support/pattern.ts'
import { buildVhd, resealed } from './support/vhd-builder.ts'

const BLOCK = 2 ** 16
const SIZE = 4 * BLOCK
const base = contentOf(fullPattern(1, SIZE))
const blocksOf = (bytes: Buffer) =>
  [0, 1, 2, 3].map((block) => ({ block, data: bytes.subarray(block * BLOCK, (block + 1) * BLOCK) }))
const parent = buildVhd({ size: SIZE, blockSize: BLOCK, blocks: blocksOf(base) })

/** Stores block 1 whole, of block 3 every other sector (bitmap 10101010), and nothing else. */
const own = noise(9, 2 * BLOCK)
const child = buildVhd({
  size: SIZE,
  blockSize: BLOCK,
  diskType: 4,
  parent: 'C:\\disks\\base.vhd',
  blocks: [
    { block: 1, data: own.subarray(0, BLOCK) },
    { block: 3, data: own.subarray(BLOCK), bitmap: 0xaa },
  ],
})

function handing(bytes: Uint8Array): Companions {
  return { open: async (name) => (name === 'base.vhd' ? memorySource(bytes) : undefined) }
}

function merged(): Buffer {
  const disk = Buffer.from(base)
  own.copy(disk, BLOCK, 0, BLOCK)
  for (let at = 0; at < BLOCK; at += 1024) own.copy(disk, 3 * BLOCK + at, BLOCK + at, BLOCK + at + 512)
  return disk
}

it('reads a differencing VHD over its parent, sector by sector', async () => {
  const backing = handing(parent)
  const found = await convertToBytes({ source: child, to: 'raw', backing })
  expect(firstDifference(found, merged())).toBeUndefined()
})

it('a parent that is another disk is refused by its id', async () => {
  const stranger = Buffer.from(parent)
  for (const at of [0, stranger.length - 512]) {
    stranger.fill(1, at + 68, at + 84)
    resealed(stranger.subarray(at, at + 512), 64).copy(stranger, at)
  }
  const conversion = convertToBytes({ source: child, to: 'raw', backing: handing(stranger) })
  await expect(conversion).rejects.toMatchObject({
    code: 'malformed',
    expected: '5a'.repeat(16),
    found: '01'.repeat(16),
  })
})

it('without its parent it is refused by the parent’s own name', async () => {
  await expect(convertToBytes({ source: child, to: 'raw' })).rejects.toMatchObject({
    code: 'unsafe-image',
    found: 'base.vhd',
  })
})
