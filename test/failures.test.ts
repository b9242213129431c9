import { appendFileSync, readdirSync, truncateSync, utimesSync, writeFileSync } from 'node:fs'
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeEach, describe, expect, it } from 'vitest'
import { type ConvertOptions, convert, DiskferryError, type Phase, type Source } from '../src/index.ts'
import { noise } from './support/pattern.ts'
import { countingSource } from './support/sources.ts'
import { tempFolder } from './support/temp-folder.ts'

const path = tempFolder()
const MiB = 2 ** 20
const disk = noise(1, 24 * MiB)
const image = path('disk.raw')

/** A folder of the test's own, in which nothing may be left. */
let folder: string
let target: string
let counter = 0

beforeEach(async () => {
  await writeFile(image, disk)
  folder = path(`out ${counter++}`)
  await mkdir(folder)
  target = join(folder, 'disk.vhd')
})

type Options = ConvertOptions<'raw' | 'vhd' | 'qcow2'>

/** Ways of writing: straight into a file, and packed on the way. */
const ways = [
  { way: 'planned', to: 'raw', options: {} },
  { way: 'packed', to: 'qcow2', options: { compression: 'zlib' } },
] as const

/** Converts, and holds what a failure leaves behind to nothing at all: no file, no descriptor, no thread. */
async function failureOf(options: Partial<Options> = {}): Promise<unknown> {
  const before = openDescriptors()
  const wanted = { source: image, from: 'raw', to: 'vhd', target, threads: 2, ...options } as Options
  const error = await convert(wanted).then(
    () => new Error('the conversion went well'),
    (reason: unknown) => reason,
  )
  expect(await readdir(folder)).toEqual([])
  expect(openDescriptors()).toBe(before)
  return error
}

/** How many descriptors this process holds open. */
function openDescriptors(): number {
  return readdirSync('/proc/self/fd').length
}

/** Does something once, when a conversion enters a phase. */
function on(phase: Phase, action: () => void): Options['onProgress'] {
  let done = false
  return (progress) => {
    if (progress.phase !== phase || done) return
    done = true
    action()
  }
}

describe('an abort', () => {
  it.each([
    { phase: 'survey', ...ways[0] },
    { phase: 'transfer', ...ways[0] },
    { phase: 'survey', ...ways[1] },
    { phase: 'transfer', ...ways[1] },
  ] as const)('in the phase $phase of a $way target rejects with its own reason', async ({ phase, to, options }) => {
    const controller = new AbortController()
    const reason = new Error('the user went home')
    const onProgress = on(phase, () => controller.abort(reason))
    expect(await failureOf({ signal: controller.signal, onProgress, to, options })).toBe(reason)
  })

  it('before the beginning rejects, and reads nothing', async () => {
    const source = countingSource(disk)
    const reason = new Error('never mind')
    expect(await failureOf({ source, signal: AbortSignal.abort(reason) })).toBe(reason)
    expect(source.reads).toEqual([])
  })

  it('without a reason rejects as an AbortError', async () => {
    const controller = new AbortController()
    const error = await failureOf({ signal: controller.signal, onProgress: on('transfer', () => controller.abort()) })
    expect(error).toMatchObject({ name: 'AbortError' })
  })

  it("while a read of the caller's source is under way waits for it, then rejects", async () => {
    const controller = new AbortController()
    let running = 0
    const source: Source = {
      size: disk.length,
      async read(offset, length) {
        running++
        if (offset > 8 * MiB) controller.abort()
        await new Promise((resolve) => setTimeout(resolve, 20))
        running--
        return disk.subarray(offset, offset + length)
      },
    }
    expect(await failureOf({ source, signal: controller.signal })).toMatchObject({ name: 'AbortError' })
    expect(running).toBe(0)
  })
})

describe('the first error', () => {
  it.each([
    { threads: 0, ...ways[0] },
    { threads: 2, ...ways[0] },
    { threads: 2, ...ways[1] },
  ])('is what is thrown when reading fails midway, with $threads threads, $way', async ({ threads, to, options }) => {
    const failure = new Error('the cable was pulled')
    let reads = 0
    const source: Source = {
      size: disk.length,
      async read(offset, length) {
        if (++reads > 12) throw reads === 13 ? failure : new Error('and another one')
        return disk.subarray(offset, offset + length)
      },
    }
    expect(await failureOf({ source, to, options, threads })).toBe(failure)
  })

  it("is the caller's own when a progress listener throws", async () => {
    const failure = new Error('a slip in the listener')
    const onProgress = on('transfer', () => {
      throw failure
    })
    expect(await failureOf({ onProgress })).toBe(failure)
  })
})

describe('a source that is written to', () => {
  it.each([
    { what: 'grows', change: () => appendFileSync(image, 'more') },
    { what: 'is overwritten in place', change: () => writeFileSync(image, noise(2, disk.length), { flag: 'r+' }) },
    { what: 'only gets a new time', change: () => utimesSync(image, new Date(), new Date(0)) },
  ])('fails the conversion when it $what', async ({ change }) => {
    const error = await failureOf({ onProgress: on('transfer', change) })
    expect(error).toMatchObject({ code: 'source-changed', hint: expect.any(String) })
  })

  it('fails as a short read when it shrinks', async () => {
    const onProgress = on('transfer', () => truncateSync(image, 9 * MiB))
    expect(await failureOf({ onProgress })).toMatchObject({ code: 'short-read' })
  })

  it("is found out by the caller's own source", async () => {
    const failure = new DiskferryError('source-changed', 'another ETag')
    const source: Source = {
      size: disk.length,
      read: (offset, length) => disk.subarray(offset, offset + length),
      assertUnchanged: () => Promise.reject(failure),
    }
    expect(await failureOf({ source })).toBe(failure)
  })
})

describe('a source that gives too little', () => {
  it.each([0, 2])('fails with what was wanted, what came and where, with %i threads', async (threads) => {
    const hole = 11 * MiB + 100
    const source: Source = {
      size: disk.length,
      name: 'a short one',
      read: (offset, length) => disk.subarray(offset, Math.min(offset + length, offset < hole ? hole : disk.length)),
    }
    const error = await failureOf({ source, to: 'raw', threads })
    expect(error).toMatchObject({ code: 'short-read' })
    const { offset, found, expected } = error as DiskferryError
    expect(Number(offset) + Number(found)).toBe(hole)
    expect(Number(offset) + Number(expected)).toBeGreaterThan(hole)
    expect((error as Error).message).toContain('a short one')
  })

  it('fails when it gives nothing at all', async () => {
    const source: Source = { size: 4096, read: () => new Uint8Array(0) }
    expect(await failureOf({ source })).toMatchObject({ code: 'short-read', found: 0 })
  })

  it('fails when it gives too much', async () => {
    const source: Source = { size: 4096, read: () => new Uint8Array(9999) }
    expect(await failureOf({ source })).toMatchObject({ code: 'short-read', found: 9999 })
  })
})

describe('a source that is not there', () => {
  it('is refused with the path and what to do', async () => {
    const error = await failureOf({ source: path('nowhere.raw') })
    expect(error).toMatchObject({ code: 'source-unreadable', found: 'ENOENT', hint: 'check the path' })
    expect((error as Error).message).toContain(path('nowhere.raw'))
  })

  it('is refused when it is a directory', async () => {
    expect(await failureOf({ source: folder })).toMatchObject({ code: 'source-unreadable', found: 'a directory' })
  })

  it('is refused when it is a character device', async () => {
    expect(await failureOf({ source: '/dev/zero' })).toMatchObject({ code: 'source-unreadable' })
  })
})

describe('options', () => {
  it.each([
    { what: 'an option that the format has not', options: { colour: 'red' }, found: 'colour' },
    { what: 'a choice that is none', options: { subformat: 'sparse' }, found: 'sparse' },
    { what: 'a size that is no power of two', options: { block_size: 3 * MiB }, found: String(3 * MiB) },
    { what: 'a size out of its limits', options: { block_size: 4096 }, found: '4096' },
    { what: 'text that is no UUID', options: { uuid: 'abc' }, found: 'abc' },
    { what: 'a number out of its limits', options: { timestamp: -1 }, found: '-1' },
  ])('are refused before anything is read: $what', async ({ options, found }) => {
    const source = path('never opened')
    const error = await failureOf({ source, options: options as Options['options'] })
    expect(error).toMatchObject({ code: 'usage', found })
  })

  it('are refused for a format that can not be written', async () => {
    const error = await failureOf({ to: 'luks' as 'raw' })
    expect(error).toMatchObject({ code: 'unsupported-format', found: 'luks' })
  })

  it('reach the image: UUID, time of creation, alignment', async () => {
    const uuid = '00112233-4455-6677-8899-aabbccddeeff'
    const options = { uuid, timestamp: 12345, align: 16 * MiB, subformat: 'fixed' } as const
    const result = await convert({ source: image, from: 'raw', to: 'vhd', options, target, threads: 0 })
    const footer = (await readFile(target)).subarray(-512)
    expect(footer.toString('hex', 68, 84)).toBe(uuid.replaceAll('-', ''))
    expect(footer.readUInt32BE(24)).toBe(12345)
    expect(result).toMatchObject({ virtualSize: 32 * MiB, warnings: [expect.stringMatching(/grew from/)] })
    expect((await stat(target)).size).toBe(32 * MiB + 512)
  })
})
