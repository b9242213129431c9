import { createHash } from 'node:crypto'
import { PassThrough, Writable } from 'node:stream'
import { finished, pipeline } from 'node:stream/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { convertToStream, type Source } from '../src/index.ts'
import { sha256 } from './support/convert.ts'
import { noise } from './support/pattern.ts'
import { countingSource } from './support/sources.ts'

const MiB = 2 ** 20
const disk = noise(1, 24 * MiB + 512)
const asRaw = { from: 'raw', to: 'raw', threads: 0 } as const

/** Reads a bigger disk than there is memory for: each MiB is the same. */
function endlessSource(size: number): Source & { bytesRead(): number } {
  let bytesRead = 0
  const piece = noise(2, 4 * MiB)
  return {
    size,
    bytesRead: () => bytesRead,
    read(_, length) {
      bytesRead += length
      return piece.subarray(0, length)
    },
  }
}

describe('a stream', () => {
  it.each([
    { to: 'raw', options: {} },
    { to: 'qcow2', options: {} },
    { to: 'vhd', options: { subformat: 'dynamic' } },
    { to: 'vhd', options: { subformat: 'fixed' } },
  ] as const)('of $to $options is as long as was said before its first byte', async ({ to, options }) => {
    const { stream, size, virtualSize, result } = await convertToStream({
      source: disk,
      from: 'raw',
      to,
      options,
      threads: 2,
    })
    expect(virtualSize).toBe(disk.length)
    let length = 0
    for await (const chunk of stream) length += (chunk as Buffer).length
    expect(length).toBe(size)
    expect(await result).toMatchObject({ bytesWritten: size, virtualSize })
  })

  it('pipes into anything that can be written', async () => {
    const { stream, result } = await convertToStream({ source: disk, ...asRaw })
    const hash = createHash('sha256')
    await pipeline(stream, new PassThrough(), hash)
    await result
    expect(hash.digest('hex')).toBe(sha256(disk))
  })

  it('gives chunks that stay as they are when later ones come', async () => {
    const { stream } = await convertToStream({ source: disk, ...asRaw })
    const chunks: Buffer[] = []
    for await (const chunk of stream) chunks.push(chunk as Buffer)
    expect(sha256(Buffer.concat(chunks))).toBe(sha256(disk))
  })

  it('reads no further than a few chunks ahead of a reader that does not read', async () => {
    const source = endlessSource(1024 * MiB)
    const { stream, result } = await convertToStream({ source, ...asRaw })
    await delay(300)
    expect(source.bytesRead()).toBeLessThan(16 * MiB)
    stream.destroy()
    await expect(result).rejects.toMatchObject({ code: 'target-failed' })
  })

  it('lets the event loop turn while its reader is as fast as can be', async () => {
    let turns = 0
    let longest = 0
    const turn = () => {
      turns += 1
      next = setImmediate(turn)
    }
    let next = setImmediate(turn)
    const { stream, result } = await convertToStream({ source: noise(7, 64 * MiB), ...asRaw, threads: 2 })
    const before = turns
    stream.on('data', (piece: Buffer) => {
      longest = Math.max(longest, piece.length)
    })
    await result
    clearImmediate(next)
    expect(turns - before).toBeGreaterThan(32)
    expect(longest).toBeLessThanOrEqual(64 * 1024)
  })

  it('goes at the pace of a slow writer', async () => {
    const source = endlessSource(32 * MiB)
    const { stream } = await convertToStream({ source, ...asRaw })
    let taken = 0
    let furthest = 0
    const slow = new Writable({
      highWaterMark: 1,
      write(chunk: Buffer, _, done) {
        taken += chunk.length
        furthest = Math.max(furthest, source.bytesRead() - taken)
        setTimeout(done, 1)
      },
    })
    await pipeline(stream, slow)
    expect(taken).toBe(32 * MiB)
    expect(furthest).toBeLessThan(16 * MiB)
  })
})

describe('a stream that is destroyed', () => {
  it('stops the conversion, and the source is read no more', async () => {
    const source = endlessSource(1024 * MiB)
    const { stream, result } = await convertToStream({ source, ...asRaw })
    stream.once('data', () => stream.destroy())
    await expect(result).rejects.toMatchObject({ code: 'target-failed' })
    const read = source.bytesRead()
    await delay(50)
    expect(source.bytesRead()).toBe(read)
    expect(read).toBeLessThan(32 * MiB)
  })

  it('rejects before anything was read of it', async () => {
    const { stream, result } = await convertToStream({ source: disk, ...asRaw })
    stream.destroy()
    await expect(result).rejects.toMatchObject({ code: 'target-failed' })
  })

  it('with an error ends the pipeline with that error', async () => {
    const { stream, result } = await convertToStream({ source: endlessSource(1024 * MiB), ...asRaw })
    const failure = new Error('the client went away')
    const broken = new Writable({ write: (_chunk, _encoding, done) => done(failure) })
    await expect(pipeline(stream, broken)).rejects.toBe(failure)
    await expect(result).rejects.toMatchObject({ code: 'target-failed' })
  })
})

describe('a conversion that fails', () => {
  it('destroys the stream with the error that it rejects with', async () => {
    const failure = new Error('the cable was pulled')
    const source: Source = {
      size: disk.length,
      read(offset, length) {
        if (offset > 8 * MiB && length > 1024) throw failure
        return disk.subarray(offset, offset + length)
      },
    }
    const { stream, result } = await convertToStream({ source, ...asRaw })
    stream.resume()
    await expect(finished(stream)).rejects.toBe(failure)
    await expect(result).rejects.toBe(failure)
  })

  it('gives no stream where the image is refused', async () => {
    await expect(
      convertToStream({ source: Buffer.from('QFI\xfb\0\0\0\x02', 'latin1'), to: 'raw' }),
    ).rejects.toMatchObject({
      code: 'malformed',
    })
  })

  it('rejects with the reason of the abort while its reader waits', async () => {
    const controller = new AbortController()
    const { signal } = controller
    const { stream, result } = await convertToStream({ source: disk, ...asRaw, signal })
    const reason = new Error('enough')
    setTimeout(() => controller.abort(reason), 50)
    stream.resume()
    stream.pause()
    const ended = finished(stream).catch((error: unknown) => error)
    await expect(within(5000, result)).rejects.toBe(reason)
    expect(await ended).toBe(reason)
  })

  it('rejects with the reason of the abort while its reader reads', async () => {
    const controller = new AbortController()
    const { signal } = controller
    const { stream, result } = await convertToStream({ source: endlessSource(1024 * MiB), ...asRaw, signal })
    const reason = new Error('enough')
    let taken = 0
    stream.on('data', (chunk: Buffer) => {
      taken += chunk.length
      if (taken > 4 * MiB) controller.abort(reason)
    })
    await expect(finished(stream)).rejects.toBe(reason)
    await expect(result).rejects.toBe(reason)
  })

  it("asks nothing of a source after the stream's end", async () => {
    const source = countingSource(disk)
    const { stream, result } = await convertToStream({ source, ...asRaw })
    stream.resume()
    await result
    const reads = source.reads.length
    await delay(20)
    expect(source.reads).toHaveLength(reads)
  })
})

function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  const late = delay(ms, undefined, { ref: false }).then(() => Promise.reject(new Error(`nothing within ${ms} ms`)))
  return Promise.race([promise, late])
}
