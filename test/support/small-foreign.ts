import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ForeignFormat, makeForeign } from './foreign-images.ts'
import { noise } from './pattern.ts'

const MiB = 2 ** 20

/** As small as QEMU makes it: one block of 1 MiB, stored. */
export const makeSmallVhdx = () => makeSmall('vhdx', { block_size: MiB })
export const makeSmallVdi = () => makeSmall('vdi', {})

async function makeSmall(format: ForeignFormat, options: Record<string, number>): Promise<Buffer> {
  const folder = await mkdtemp(join(tmpdir(), 'diskferry-test-'))
  try {
    await makeForeign(join(folder, 'image'), format, noise(1, MiB), options)
    return await readFile(join(folder, 'image'))
  } finally {
    await rm(folder, { recursive: true })
  }
}
