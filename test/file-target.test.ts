import { readdirSync, readFileSync } from 'node:fs'
import { link, mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { convert, fileTarget, type ProgressListener } from '../src/index.ts'
import { convertInChild } from './support/child.ts'
import { firstDifference } from './support/convert.ts'
import { noise } from './support/pattern.ts'
import { tempFolder } from './support/temp-folder.ts'
import { runTool } from './support/tools.ts'

const path = tempFolder()
const disk = noise(1, 12 * 2 ** 20)
const source = path('disk.raw')
let folder: string
let target: string
let counter = 0

beforeAll(() => writeFile(source, disk))
beforeEach(async () => {
  folder = path(`out ${counter++}`)
  await mkdir(folder)
  target = join(folder, 'target.raw')
})

const toRaw = (to: string, onProgress?: ProgressListener) =>
  convert({ source, from: 'raw', to: 'raw', target: to, threads: 2, onProgress })

describe('the name of the target', () => {
  it('is there only once the file is whole', async () => {
    const during: string[][] = []
    await toRaw(target, ({ phase }) => {
      if (phase === 'transfer') during.push(readdirSync(folder))
    })
    expect(during.length).toBeGreaterThan(0)
    for (const names of during) expect(names).toEqual([expect.stringMatching(/^\..+\.partial$/)])
    expect(await readdir(folder)).toEqual(['target.raw'])
  })

  it('keeps the file that had it until the new one is whole', async () => {
    await writeFile(target, 'what was there')
    const during = new Set<string>()
    await toRaw(target, ({ phase }) => {
      if (phase === 'transfer') during.add(readFileSync(target, 'utf8'))
    })
    expect([...during]).toEqual(['what was there'])
    expect(firstDifference(await readFile(target), disk)).toBeUndefined()
  })

  it('keeps the file that had it when the conversion fails', async () => {
    await writeFile(target, 'what was there')
    const aborted = convert({ source, to: 'raw', target, threads: 0, signal: AbortSignal.timeout(1) })
    await expect(aborted).rejects.toMatchObject({ name: 'TimeoutError' })
    expect(await readFile(target, 'utf8')).toBe('what was there')
    expect(await readdir(folder)).toEqual(['target.raw'])
  })

  it('is given after the bytes are on the disk, when asked for', async () => {
    await convert({ source, from: 'raw', to: 'raw', target: fileTarget(target, { sync: true }), threads: 0 })
    expect(firstDifference(await readFile(target), disk)).toBeUndefined()
  })
})

describe('the source as the target', () => {
  it.each([
    { what: 'by its own name', name: async () => source },
    { what: 'by a link', name: () => linked(symlink) },
    { what: 'by a second name', name: () => linked(link) },
  ])('is refused $what, and stays whole', async ({ name }) => {
    const own = await name()
    await expect(toRaw(own)).rejects.toMatchObject({ code: 'usage' })
    expect(firstDifference(await readFile(source), disk)).toBeUndefined()
  })
})

describe('a target that can not be written', () => {
  it('is refused in a folder that is not there', async () => {
    const error = await toRaw(join(folder, 'nowhere', 'target.raw')).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'target-failed', found: 'ENOENT', hint: 'make its folder first' })
  })

  it('is refused when it is a folder', async () => {
    await expect(toRaw(folder)).rejects.toMatchObject({ code: 'usage' })
    expect(await readdir(folder)).toEqual([])
  })

  it('fails with ENOSPC on a full device', async () => {
    await expect(toRaw('/dev/full')).rejects.toMatchObject({ code: 'target-failed', found: 'ENOSPC' })
  })

  it('fails with EFBIG past the largest size of a file, and leaves nothing', async () => {
    const options = { source, from: 'raw', to: 'raw', target, threads: 1 }
    const { error } = await convertInChild(options, { shellPrefix: 'ulimit -f 1024' })
    expect(error).toMatchObject({ code: 'target-failed', found: 'EFBIG', hint: expect.any(String) })
    expect(await readdir(folder)).toEqual([])
  })
})

describe('a target that is no regular file', () => {
  it('takes the bytes in order through a FIFO', async () => {
    const fifo = join(folder, 'fifo')
    await runTool('mkfifo', [fifo])
    const [bytes] = await Promise.all([readFile(fifo), toRaw(fifo)])
    expect(firstDifference(bytes, disk)).toBeUndefined()
  })

  it('stays what it is', async () => {
    await toRaw('/dev/null')
    expect((await stat('/dev/null')).isCharacterDevice()).toBe(true)
  })
})

async function linked(make: (from: string, to: string) => Promise<void>): Promise<string> {
  const name = join(folder, 'other name')
  await make(source, name)
  return name
}
