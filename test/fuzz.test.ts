import { expect, it } from 'vitest'
import { inspect, isDiskferryError } from '../src/index.ts'
import { readDisk } from './support/convert.ts'
import { walk } from './support/malformed.ts'
import { allocatedBytes, retainedBytes } from './support/memory.ts'
import { mutate } from './support/mutate.ts'
import { makeSmallImages } from './support/small-images.ts'

const ROUNDS = 6000
const MOST_MS = 10_000
/** Bytes that stay behind after all rounds. */
const MOST_RETAINED = 32 * 2 ** 20
/** Bytes that one round may allocate: the buffers of a conversion, and what a damaged image may ask for. */
const MOST_ALLOCATED = 96 * 2 ** 20
/** A damaged image may be as large as its tables reach: only small disks are converted. */
const MOST_CONVERTED = 8 * 2 ** 20

const images = await makeSmallImages()

it.each(images)('takes a small $name as it is', async ({ bytes, format }) => {
  expect(await walk(bytes)).toBeGreaterThan(0)
  expect((await inspect(bytes)).format).toBe(format)
  expect(await readDisk(bytes)).toHaveLength(300 * 1024)
})

it('refuses damaged images with its own errors, and with nothing else', async () => {
  const end = performance.now() + MOST_MS
  const before = retainedBytes()
  const outcomes = new Map<string, number>()
  let round = 0
  for (; round < ROUNDS && performance.now() < end; round++) {
    const outcome = await tryRound(round)
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
  }
  expect(round).toBeGreaterThan(ROUNDS / 4)
  expect([...outcomes.keys()]).toEqual(expect.arrayContaining(['taken', 'malformed', 'truncated', 'too-large']))
  expect(retainedBytes() - before).toBeLessThan(MOST_RETAINED)
})

/** What became of one damaged image. Anything that is not foreseen is thrown, with the round that brought it about. */
async function tryRound(round: number): Promise<string> {
  const image = images[round % images.length] as (typeof images)[number]
  const damaged = mutate(image.bytes, round)
  const from = round % 3 === 0 ? undefined : image.format
  const started = performance.now()
  const before = allocatedBytes()
  try {
    await walk(damaged, from)
    const { virtualSize } = await inspect(damaged, { from })
    if (virtualSize <= MOST_CONVERTED) await readDisk(damaged, from)
    return 'taken'
  } catch (error) {
    if (isDiskferryError(error) && error.code !== 'plan-violated' && error.code !== 'worker-lost') return error.code
    throw new Error(`round ${round}, a damaged ${image.name}`, { cause: error })
  } finally {
    expect(performance.now() - started, `round ${round}, a damaged ${image.name}`).toBeLessThan(2000)
    expect(allocatedBytes() - before, `round ${round}, a damaged ${image.name}`).toBeLessThan(MOST_ALLOCATED)
  }
}
