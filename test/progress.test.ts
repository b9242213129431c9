import { beforeAll, describe, expect, it } from 'vitest'
import { type ConvertOptions, convert, convertToStream, type Progress } from '../src/index.ts'
import { makeSource, packedTargetKinds, targetKinds } from './support/matrix.ts'
import { makePattern, noise } from './support/pattern.ts'
import { tempFolder } from './support/temp-folder.ts'

const path = tempFolder()
const size = 21 * 2 ** 20 + 512
const image = path('source.qcow2')
const packed = path('packed.qcow2')
const allKinds = [...targetKinds, ...packedTargetKinds]

beforeAll(async () => {
  const pattern = makePattern(41, size, 40)
  await makeSource({ name: 'qcow2', format: 'qcow2' }, image, pattern)
  await makeSource({ name: 'packed', format: 'qcow2', compressed: true }, packed, pattern)
})

async function progressOf(options: Partial<ConvertOptions>): Promise<Progress[]> {
  const seen: Progress[] = []
  const onProgress = (progress: Progress) => void seen.push(progress)
  const target = path(`target ${Math.random()}`)
  await convert({ source: image, to: 'raw', target, threads: 2, ...options, onProgress } as ConvertOptions)
  return seen
}

function expectWhole(seen: readonly Progress[]): void {
  expect([...new Set(seen.map(({ phase }) => phase))]).toEqual(['survey', 'transfer', 'finish'])
  for (const phase of ['survey', 'transfer', 'finish'] as const) {
    const steps = seen.filter((progress) => progress.phase === phase)
    const done = steps.map((progress) => progress.done)
    expect(steps[0]?.done).toBe(0)
    expect(done).toEqual([...done].sort((a, b) => a - b))
    expect(new Set(steps.map(({ total }) => total)).size).toBe(1)
    expect(steps.at(-1)?.done, `${phase} at its end`).toBe(steps.at(-1)?.total)
  }
}

describe('progress', () => {
  it.each(allKinds)('goes from nothing to everything in each phase, into $name', async ({ to, options }) => {
    expectWhole(await progressOf({ source: noise(1, size), from: 'raw', to, options } as Partial<ConvertOptions>))
  })

  it.each(allKinds)('ends whole where written zeros are dropped, into $name', async ({ to, options }) => {
    expectWhole(await progressOf({ to, options } as Partial<ConvertOptions>))
  })

  it.each(targetKinds)(
    "ends whole where the last packed cluster reaches past the disk's end, into $name",
    async (kind) => {
      const { to, options } = kind
      expectWhole(await progressOf({ source: packed, to, options, keepZeros: true } as Partial<ConvertOptions>))
    },
  )

  it('tells rates that are numbers, and no time left while nothing is done', async () => {
    for (const { done, bytesPerSecond, etaSeconds, total } of await progressOf({})) {
      expect(Number.isFinite(bytesPerSecond)).toBe(true)
      if (done === 0) expect(etaSeconds).toBeUndefined()
      if (done > 0 && done < total) expect(etaSeconds).toBeGreaterThan(0)
    }
  })

  it('counts the bytes of a stream as they are written', async () => {
    const seen: Progress[] = []
    const onProgress = (progress: Progress) => void seen.push(progress)
    const {
      stream,
      size: streamSize,
      result,
    } = await convertToStream({ source: image, to: 'vhd', threads: 0, onProgress })
    stream.resume()
    await result
    expect(seen.at(-1)).toMatchObject({ phase: 'finish', bytesWritten: streamSize })
  })
})
