import { randomBytes } from 'node:crypto'
import { open, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { beforeAll, describe, expect, it } from 'vitest'
import { convert, digestImage, inspect } from '../src/index.ts'
import { differenceOf } from './support/qemu.ts'
import { root, runNode } from './support/run-node.ts'
import { tempFolder } from './support/temp-folder.ts'
import { runTool } from './support/tools.ts'

const path = tempFolder()
const KiB = 1024
const MiB = 1024 * KiB
const TiB = 1024 * 1024 * MiB
const SIZE = 24 * MiB
/** Where pages of noise lie, between them zeros: alone, after one another, across the end of a page, and at the disk's end. */
const WRITES = [
  { offset: 0, length: 512 },
  { offset: 5 * MiB, length: 64 * KiB },
  { offset: 9 * MiB + 100, length: 3 * KiB },
  { offset: 9 * MiB + 4 * KiB - 1, length: 2 },
  { offset: SIZE - 700, length: 700 },
]

async function writeDisk(file: string, size: number, isSparse: boolean): Promise<void> {
  const handle = await open(file, 'w')
  if (isSparse) await handle.truncate(size)
  else await handle.write(Buffer.alloc(size))
  for (const { offset, length } of WRITES) await handle.write(randomBytes(length).fill(1, 0, 1), 0, length, offset)
  await handle.close()
}

const stored = async (file: string) => (await stat(file)).blocks * 512

beforeAll(async () => {
  await writeDisk(path('full.raw'), SIZE, false)
  await runTool('cp', ['--sparse=always', path('full.raw'), path('sparse.raw')])
  expect(await stored(path('full.raw'))).toBeGreaterThanOrEqual(SIZE)
  expect(await stored(path('sparse.raw'))).toBeLessThan(MiB)
})

describe('zeros that a raw disk stores', () => {
  const fixed = { to: 'vhd', options: { subformat: 'fixed' } } as const
  it.each([
    { threads: 0, to: { to: 'raw' } as const },
    { threads: 2, to: { to: 'raw' } as const },
    { threads: 2, to: fixed },
  ])('become holes in a file: $to, $threads threads', async ({ threads, to }) => {
    const target = path('holes')
    const result = await convert({ ...to, source: path('full.raw'), from: 'raw', target, threads })
    expect(await stored(target)).toBeLessThan(MiB)
    expect(result.bytesWritten).toBe((await stat(target)).size)
    await truncate(target, SIZE)
    expect(await differenceOf([path('full.raw'), 'raw'], [target, 'raw'])).toBeUndefined()
  })

  it('stay stored where the caller keeps zeros', async () => {
    const target = path('kept')
    await convert({ source: path('full.raw'), from: 'raw', to: 'raw', keepZeros: true, target })
    expect(await stored(target)).toBeGreaterThanOrEqual(SIZE)
    expect(await differenceOf([path('full.raw'), 'raw'], [target, 'raw'])).toBeUndefined()
  })

  it('are not among the pages that qemu-img finds in what we wrote, nor is one of its pages missing', async () => {
    await runTool('qemu-img', ['convert', '-f', 'raw', '-O', 'raw', path('full.raw'), path('theirs')])
    await convert({ source: path('full.raw'), from: 'raw', to: 'raw', target: path('ours') })
    expect(await stored(path('ours'))).toBeLessThanOrEqual(await stored(path('theirs')))
  })
})

describe('holes in a source', () => {
  it('are holes of the disk', async () => {
    const { allocation } = await inspect(path('sparse.raw'), { from: 'raw' })
    expect(allocation?.stored).toBeLessThan(MiB)
    const { allocation: full } = await inspect(path('full.raw'), { from: 'raw' })
    expect(full?.stored).toBe(SIZE)
  })

  it.each(['raw', 'qcow2', 'vhd', 'vmdk', 'zvhd2'] as const)(
    'change no byte of what becomes of it as %s',
    async (to) => {
      const [full, sparse] = [path('full.raw'), path('sparse.raw')]
      const results = []
      for (const source of [full, sparse]) {
        results.push(await convert({ source, from: 'raw', to, target: path(`same.${to}`) }))
      }
      expect(results[0]?.crc32c).toBe(results[1]?.crc32c)
      expect(results[0]?.dataBytes).toBe(SIZE)
      expect(results[1]?.dataBytes).toBeLessThan(MiB)
    },
  )

  it('are holes of a fixed VHD too', async () => {
    await convert({
      source: path('full.raw'),
      from: 'raw',
      to: 'vhd',
      options: { subformat: 'fixed' },
      target: path('a.vhd'),
    })
    const { allocation } = await inspect(path('a.vhd'))
    expect(allocation?.stored).toBeLessThan(MiB)
    const digests = [
      await digestImage({ source: path('a.vhd') }),
      await digestImage({ source: path('full.raw'), from: 'raw' }),
    ]
    expect(digests[0]?.digest).toBe(digests[1]?.digest)
  })

  it('are not read: a raw disk of 2 TiB with little in it takes seconds', async () => {
    const source = path('huge.raw')
    await writeDisk(source, 2 * TiB, true)
    const started = performance.now()
    await convert({ source, from: 'raw', to: 'qcow2', target: path('huge.qcow2') })
    expect(performance.now() - started).toBeLessThan(20_000)
    expect(await differenceOf([source, 'raw'], [path('huge.qcow2'), 'qcow2'])).toBeUndefined()
  })

  it('are read as zeros where nobody tells of them: the same bytes come of it', async () => {
    await writeFile(path('alone.mjs'), WITHOUT_KOFFI)
    const args = [
      path('alone.mjs'),
      pathToFileURL(join(root, 'dist/index.js')).href,
      path('sparse.raw'),
      path('alone.vhd'),
    ]
    const { code, stdout, stderr } = await runNode(args)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const { crc32c } = await convert({ source: path('sparse.raw'), from: 'raw', to: 'vhd', target: path('told.vhd') })
    expect(JSON.parse(stdout.toString())).toEqual({ dataBytes: SIZE, crc32c })
  })
})

/** Takes the optional package away, as an installation without it would. */
const WITHOUT_KOFFI = `
import { register } from 'node:module'
register('data:text/javascript,' + encodeURIComponent(\`
  export const resolve = (name, context, next) => {
    if (name === 'koffi') throw Object.assign(new Error(name), { code: 'ERR_MODULE_NOT_FOUND' })
    return next(name, context)
  }
\`))
const [library, source, target] = process.argv.slice(2)
const { convert } = await import(library)
const { dataBytes, crc32c } = await convert({ source, from: 'raw', to: 'vhd', target, threads: 0 })
console.log(JSON.stringify({ dataBytes, crc32c }))
`
