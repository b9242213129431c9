import { setTimeout as delay } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { convertToStream, type Source } from '../src/index.ts'
import { convertToBytes, firstDifference } from './support/convert.ts'
import { contentOf, fullPattern } from './support/pattern.ts'

const MiB = 2 ** 20

/** A source of the caller's own whose earlier reads take longer than its later ones. */
function unevenSource(bytes: Buffer): Source {
  let reads = 0
  return {
    size: bytes.length,
    async read(offset, length) {
      await delay(reads++ % 4 === 0 ? 30 : 0)
      return bytes.subarray(offset, offset + length)
    },
  }
}

it.each(['raw', 'vhd', 'zvhd'] as const)('%s streams in order although reads end out of order', async (to) => {
  const disk = contentOf(fullPattern(1, 24 * MiB))
  const expected = await convertToBytes({ source: disk, from: 'raw', to })
  for (const threads of [0, 2]) {
    const found = await convertToBytes({ source: unevenSource(disk), from: 'raw', to, threads })
    // The seed of identifiers comes from the source's bytes, which are the same.
    expect(firstDifference(found, expected)).toBeUndefined()
  }
})

it.each(['raw', 'zvhd'] as const)(
  '%s: a source that fails while nobody reads the stream ends it all the same',
  async (to) => {
    const disk = contentOf(fullPattern(2, 24 * MiB))
    const source: Source = {
      size: disk.length,
      async read(offset, length) {
        if (offset >= 2 * MiB && length > 64 * 1024) throw new Error('the disk is gone')
        return disk.subarray(offset, offset + length)
      },
    }
    const { stream, result } = await convertToStream({ source, from: 'raw', to, keepZeros: true, threads: 2 })
    stream.on('error', () => undefined)
    await expect(result).rejects.toThrow('the disk is gone')
    expect(stream.destroyed).toBe(true)
  },
)

it('an abort while nobody reads the stream ends it', async () => {
  const disk = contentOf(fullPattern(3, 24 * MiB))
  const abort = new AbortController()
  const { stream, result } = await convertToStream({ source: disk, from: 'raw', to: 'raw', signal: abort.signal })
  stream.on('error', () => undefined)
  setTimeout(() => abort.abort(new Error('enough')), 100)
  await expect(result).rejects.toThrow('enough')
  expect(stream.destroyed).toBe(true)
})
