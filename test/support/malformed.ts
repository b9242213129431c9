import { expect } from 'vitest'
import { type ErrorCode, type FormatName, inspect, isDiskferryError, openImage } from '../../src/index.ts'
import { readDisk } from './convert.ts'
import { allocatedBytes } from './memory.ts'
import { countingSource } from './sources.ts'

/** An image that lies, and what is said of it. */
export interface Lie {
  readonly lie: string
  readonly image: Uint8Array
  readonly code: ErrorCode
  readonly offset?: number
  readonly found?: string | number
  readonly expected?: string | number
}

const MAX_ALLOCATED = 64 * 2 ** 20
const MAX_MS = 5000

/**
 * Inspects and converts the image, and holds the failure to what was foretold: quickly, in little memory, and without
 * reading more than the file holds a few times over.
 */
export async function expectRefusal({ image, lie: _, ...facts }: Lie, from: FormatName): Promise<void> {
  const started = performance.now()
  const before = allocatedBytes()
  const source = countingSource(image)
  const error = await inspect(source, { from }).then(
    () =>
      readDisk(image, from).then(
        () => undefined,
        (reason: unknown) => reason,
      ),
    (reason: unknown) => reason,
  )
  const allocated = allocatedBytes() - before
  if (!isDiskferryError(error)) throw new Error('the image was taken, or refused by accident', { cause: error })
  expect(error).toMatchObject(facts)
  expect(error.message).not.toMatch(/undefined|NaN|\[object/)
  expect(source.reads.reduce((sum, { length }) => sum + length, 0)).toBeLessThanOrEqual(4 * image.length + 2 ** 17)
  expect(allocated).toBeLessThan(MAX_ALLOCATED)
  expect(performance.now() - started).toBeLessThan(MAX_MS)
}

/** Opens an image and follows every table of it, asking for nothing but its extents. Gives how many there are. */
export async function walk(image: Uint8Array, from?: FormatName): Promise<number> {
  const opened = await openImage(countingSource(image), { from })
  let rows = 0
  for await (const batch of opened.extents()) rows += batch.length
  return rows
}
