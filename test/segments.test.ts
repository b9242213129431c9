import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { type Load, Segments } from '../src/io/remote/segments.ts'
import { firstDifference } from './support/convert.ts'
import { noise, randomOf } from './support/pattern.ts'

const MiB = 2 ** 20
const object = noise(3, 96 * MiB + 100)

/** Answers late and in any order; what is handed over as memory is filled, and counted. */
function store() {
  const memories = new Set<ArrayBufferLike>()
  const load: Load = async (offset, length, memory = Buffer.alloc(length)) => {
    memories.add(memory.buffer)
    await delay(offset % 7)
    const bytes = memory.subarray(0, length)
    bytes.set(object.subarray(offset, offset + length))
    return bytes
  }
  return { load, memories }
}

describe('what of a remote object is in memory', () => {
  it('is read in order through few buffers, used again and again', async () => {
    const { load, memories } = store()
    const segments = new Segments(object.length, 16 * MiB, load)
    const found = Buffer.alloc(object.length)
    for (let at = 0; at < object.length; at += 3 * MiB) {
      await segments.readInto(at, found.subarray(at, at + 3 * MiB))
    }
    expect(firstDifference(found, object)).toBeUndefined()
    expect(memories.size).toBeLessThan(14)
  })

  it('is the same for many who read at once, here and there, while what was read makes way', async () => {
    const { load } = store()
    const segments = new Segments(object.length, 8 * MiB, load)
    const next = randomOf(5)
    const reads = Array.from({ length: 400 }, async (_, index) => {
      await delay(index / 4)
      const length = 1 + Math.floor(next() * 5 * MiB)
      const offset = Math.floor(next() * (object.length - length))
      const expected = object.subarray(offset, offset + length)
      const bytes = index % 2 === 0 ? await segments.read(offset, length) : Buffer.alloc(length)
      if (index % 2 === 1) await segments.readInto(offset, bytes)
      return firstDifference(bytes, expected)
    })
    expect((await Promise.all(reads)).filter((difference) => difference !== undefined)).toEqual([])
  })

  it('is never less than was asked for', async () => {
    const cut: Load = async (_, length) => Buffer.alloc(length - 1)
    const segments = new Segments(object.length, 8 * MiB, cut)
    await expect(segments.readInto(MiB, Buffer.alloc(100))).rejects.toMatchObject({ code: 'short-read', offset: MiB })
    const past = segments.readInto(object.length - 10, Buffer.alloc(11))
    await expect(past).rejects.toMatchObject({ code: 'short-read', found: 10, expected: 11 })
  })

  it('is not written to a reader that was told of a failure', async () => {
    const { load } = store()
    const failing: Load = async (offset, length, memory) => {
      if (offset === 0) throw new Error('lost')
      await delay(20)
      return load(offset, length, memory)
    }
    const segments = new Segments(object.length, 8 * MiB, failing)
    const target = Buffer.alloc(6 * MiB)
    await expect(segments.readInto(0, target)).rejects.toThrow('lost')
    target.fill(0)
    await delay(100)
    expect(target.every((byte) => byte === 0)).toBe(true)
  })
})
