import { createHash } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { beforeAll, describe, expect, it } from 'vitest'
import { convert, convertToStream, createPool, type Source } from '../src/index.ts'
import { convertInChild } from './support/child.ts'
import { convertToBytes, firstDifference, sha256 } from './support/convert.ts'
import { referenceCrc32c } from './support/crc32c.ts'
import { makeSource, packedTargetKinds, type TargetKind, targetKinds } from './support/matrix.ts'
import { makePattern, noise, randomOf } from './support/pattern.ts'
import { sample } from './support/sample.ts'
import { countingSource } from './support/sources.ts'
import { tempFolder } from './support/temp-folder.ts'

const path = tempFolder()
const size = 21 * 2 ** 20 + 512
const image = path('source.qcow2')
const plain = path('source.raw')
let bytes: Buffer

beforeAll(async () => {
  const pattern = makePattern(31, size, 40)
  await makeSource({ name: 'compressed', format: 'qcow2', compressed: true }, image, pattern)
  await makeSource({ name: 'raw', format: 'raw' }, plain, pattern)
  bytes = await readFile(image)
})

describe.each(sample(targetKinds, 2))('a $name', (kind: TargetKind) => {
  const { to, options, name } = kind
  const inFile = async (source: string | Uint8Array | Source, threads: number): Promise<Buffer> => {
    const target = path(`${name} ${threads}`)
    await convert({ source, to, options, target, threads })
    return readFile(target)
  }

  it('is the same bytes with any number of threads, as a file and as a stream', async () => {
    const expected = sha256(await inFile(image, 0))
    for (const threads of [0, 1, 2]) {
      expect(sha256(await inFile(image, threads))).toBe(expected)
      expect(sha256(await convertToBytes({ source: image, to, options, threads }))).toBe(expected)
    }
  })

  it('is the same bytes from a path, from memory and from any object that can be read', async () => {
    const expected = sha256(await inFile(image, 2))
    expect(sha256(await inFile(bytes, 2))).toBe(expected)
    expect(sha256(await inFile(new Uint8Array(bytes), 0))).toBe(expected)
    expect(sha256(await inFile(countingSource(bytes), 2))).toBe(expected)
  })

  it('is the same bytes in another process', async () => {
    const target = path(`${name} in a child`)
    const { crc32c } = await convertInChild({ source: image, to, options, target, threads: 1 })
    const here = await convert({ source: image, to, options, target: path(`${name} here`), threads: 0 })
    expect(crc32c).toBe(here.crc32c)
    expect(firstDifference(await readFile(target), await readFile(path(`${name} here`)))).toBeUndefined()
  })

  it('is other bytes when one byte of the disk is', async () => {
    const other = await readFile(plain)
    other.writeUInt8(other.readUInt8(0) ^ 1, 0)
    expect(sha256(await inFile(other, 0))).not.toBe(sha256(await inFile(plain, 0)))
  })
})

describe.each(packedTargetKinds)('a $name', ({ to, options, name }: TargetKind) => {
  it('is the same bytes with any number of threads, from a path and from memory', async () => {
    const digests = new Set<string>()
    for (const [threads, source] of [
      [0, image],
      [1, image],
      [2, image],
      [2, bytes],
    ] as const) {
      await convert({ source, to, options, target: path(name), threads })
      digests.add(sha256(await readFile(path(name))))
    }
    expect(digests.size).toBe(1)
  })
})

describe('checksums', () => {
  it.each(sample([...targetKinds, ...packedTargetKinds], 2))(
    'of a $name are of the bytes that were written',
    async ({ to, options, name }) => {
      const target = path(`checked ${name}`)
      const { crc32c, bytesWritten } = await convert({ source: image, to, options, target, threads: 2 })
      const written = await readFile(target)
      expect(bytesWritten).toBe(written.length)
      expect(crc32c).toBe(referenceCrc32c(written).toString(16).padStart(8, '0'))
    },
  )
})

describe('sources that answer when they like', () => {
  /** Answers each read after a while of its own. */
  const slow = (content: Uint8Array, seed: number): Source => {
    const random = randomOf(seed)
    return {
      size: content.length,
      async read(offset, length) {
        await delay(random() * 20)
        return content.subarray(offset, offset + length)
      },
    }
  }
  const disk = noise(4, 12 * 2 ** 20)

  it.each([0, 2])('give a stream in order, with %i threads', async (threads) => {
    const { stream, result } = await convertToStream({ source: slow(disk, 1), from: 'raw', to: 'raw', threads })
    const hash = createHash('sha256')
    for await (const chunk of stream) hash.update(chunk as Buffer)
    await result
    expect(hash.digest('hex')).toBe(sha256(disk))
  })

  it('give a file in order', async () => {
    await convert({ source: slow(disk, 2), from: 'raw', to: 'raw', target: path('slow.raw'), threads: 2 })
    expect(firstDifference(await readFile(path('slow.raw')), disk)).toBeUndefined()
  })
})

describe('what the caller brings along', () => {
  it('a pool serves several conversions at once, and is left open', async () => {
    const pool = createPool({ threads: 2 })
    try {
      const all = [1, 2, 3].map((n) => convert({ source: image, to: 'raw', target: path(`shared ${n}`), pool }))
      const [first, ...others] = await Promise.all(all)
      for (const other of others) expect(other.crc32c).toBe(first?.crc32c)
      const again = await convert({ source: image, to: 'raw', target: path('shared again'), pool })
      expect(again.crc32c).toBe(first?.crc32c)
    } finally {
      await pool.close()
    }
  })

  it('a source is left open', async () => {
    let closed = 0
    const source: Source = { ...countingSource(bytes), close: async () => void closed++ }
    await convert({ source, to: 'raw', target: path('own source'), threads: 0 })
    expect(closed).toBe(0)
  })

  it('a number of threads that is none is refused', async () => {
    await writeFile(path('tiny.raw'), noise(1, 512))
    const options = { source: path('tiny.raw'), to: 'raw', target: path('none') } as const
    for (const threads of [-1, 1.5, Number.NaN]) {
      await expect(convert({ ...options, threads })).rejects.toMatchObject({ code: 'usage' })
    }
  })
})
