import type { DiskImage } from '../formats/format.ts'
import { openImage } from '../formats/registry.ts'
import type { Source } from '../io/source.ts'
import { assertSafeImage } from '../rules/image-safety.ts'
import { createPool, type Pool, type PoolOptions } from './pool.ts'
import { type ImageInput, openOptionsOf, openSource } from './source-input.ts'

/** Opens an image, safe or not, for as long as `work` takes. */
export async function withOpened<T>(
  input: ImageInput,
  work: (image: DiskImage, source: Source) => Promise<T>,
): Promise<T> {
  const source = await openSource(input.source)
  try {
    const image = await openImage(source, openOptionsOf(input))
    try {
      return await work(image, source)
    } finally {
      await image.close?.()
    }
  } finally {
    if (source !== input.source) await source.close?.()
  }
}

/** Opens an image whose content may be relied on. Rejects when it was written to meanwhile. */
export function withImage<T>(input: ImageInput, work: (image: DiskImage) => Promise<T>): Promise<T> {
  return withOpened(input, async (image) => {
    assertSafeImage(image)
    const result = await work(image)
    await image.source.assertUnchanged?.()
    return result
  })
}

/** The caller's pool, or one for as long as `work` takes. */
export async function withPool<T>(
  options: PoolOptions & { pool?: Pool | undefined },
  work: (pool: Pool) => Promise<T>,
): Promise<T> {
  if (options.pool !== undefined) return work(options.pool)
  const pool = createPool(options)
  try {
    return await work(pool)
  } finally {
    await pool.close()
  }
}
