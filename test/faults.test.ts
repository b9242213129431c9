import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { beforeAll, describe, expect, it } from 'vitest'
import { runWithFault } from './support/inject.ts'
import { noise } from './support/pattern.ts'
import { root, runCli, runNode } from './support/run-node.ts'
import { sample } from './support/sample.ts'
import { tempFolder } from './support/temp-folder.ts'

const MiB = 2 ** 20
const path = tempFolder()
const image = path('disk.raw')
let counter = 0

beforeAll(() => writeFile(image, noise(1, 24 * MiB)))

/** A folder of the test's own, for the target alone. */
async function freshFolder(): Promise<string> {
  const folder = path(`out ${counter++}`)
  await mkdir(folder)
  return folder
}

/** Ways of writing: straight into a file, and packed on the way. */
const ways = {
  planned: ['--to', 'raw'],
  packed: ['--to', 'qcow2', '-o', 'compression=zlib'],
} as const

const sourceFaults = [
  { what: 'fails while it is opened', answer: 'EIO', from: 1, code: 'source-unreadable' },
  { what: 'fails midway', answer: 'EIO', from: 4, code: 'source-unreadable' },
  { what: 'ends midway', answer: 'retval=0', from: 4, code: 'short-read' },
] as const

const targetFaults = [
  { what: 'has no space for its size', call: 'ftruncate', answer: 'ENOSPC', from: 1, args: ways.planned },
  { what: 'has no space midway', call: 'pwrite64', answer: 'ENOSPC', from: 3, args: ways.planned },
  { what: 'has no space midway', call: 'pwrite64', answer: 'ENOSPC', from: 3, args: ways.packed },
  { what: 'is over its quota midway', call: 'pwrite64', answer: 'EDQUOT', from: 3, args: ways.planned },
  { what: 'is over its quota midway', call: 'pwrite64', answer: 'EDQUOT', from: 3, args: ways.packed },
  { what: 'takes nothing at all', call: 'pwrite64', answer: 'EIO', from: 1, args: ways.planned },
  { what: 'can not be synced', call: 'fsync', answer: 'EIO', from: 1, args: [...ways.planned, '--sync'] },
  { what: 'can not be renamed', call: 'rename', answer: 'EROFS', from: 1, args: ways.planned },
] as const

describe.each(sample(Object.entries(ways), 2))('a source whose storage breaks, %s', (_, args) => {
  it.each(sourceFaults)('and $what is a typed error, and leaves no target', async ({ answer, from, code }) => {
    const folder = await freshFolder()
    const fault = { call: 'pread64', answer, from, path: image }
    const convert = ['convert', image, join(folder, 'disk'), ...args, '--threads', '1', '--json', '-q']
    const result = await runWithFault(fault, convert)
    expect({ code: result.code, error: JSON.parse(result.stdout).error.code }).toEqual({ code: 4, error: code })
    expect(result.stderr).toMatch(answer === 'EIO' ? /EIO/ : /bytes at offset/)
    expect(await readdir(folder)).toEqual([])
  })
})

describe('a target', () => {
  it.each(sample(targetFaults, 2))(
    'that $what ($call, $answer) is a typed error, and nothing is left',
    async (fault) => {
      const folder = await freshFolder()
      const convert = ['convert', image, join(folder, 'disk'), ...fault.args, '--threads', '1', '--json', '-q']
      const { code, stdout } = await runWithFault(fault, convert)
      expect(code).toBe(5)
      expect(JSON.parse(stdout).error).toMatchObject({ code: 'target-failed', found: fault.answer })
      expect(await readdir(folder)).toEqual([])
    },
  )

  it('that was there before stays as it was when the new one fails', async () => {
    const folder = await freshFolder()
    await writeFile(join(folder, 'disk'), 'the old one')
    const fault = { call: 'pwrite64', answer: 'ENOSPC', from: 3 }
    const { code } = await runWithFault(fault, ['convert', image, join(folder, 'disk'), ...ways.planned, '-q'])
    expect(code).toBe(5)
    expect(await readFile(join(folder, 'disk'), 'utf8')).toBe('the old one')
    expect(await readdir(folder)).toEqual(['disk'])
  })
})

describe('a process', () => {
  it('that is killed leaves no target, nor a change to the one that was there', async () => {
    const folder = await freshFolder()
    await writeFile(join(folder, 'disk'), 'the old one')
    const { signal } = await runCli(['convert', image, join(folder, 'disk'), ...ways.planned, '--threads', '1'], {
      onStderr: (text, kill) => text.includes('looking through') && kill('SIGKILL'),
    })
    expect(signal).toBe('SIGKILL')
    expect(await readFile(join(folder, 'disk'), 'utf8')).toBe('the old one')
  })
})

/** Converts with workers that die, then once more with whole ones, in the same process. */
const WITH_BAD_WORKERS = `
import { pathToFileURL } from 'node:url'
const [library, workerFile, source, target, to] = process.argv.slice(2)
const { convert, createPool } = await import(pathToFileURL(library))
const pool = createPool({ threads: 2, workerFile: new URL(workerFile) })
const options = { source, from: 'raw', to, options: to === 'qcow2' ? { compression: 'zlib' } : {}, pool }
const first = await convert({ ...options, target }).then(() => 'done', ({ code, message }) => ({ code, message }))
await pool.close()
const second = await convert({ ...options, pool: undefined, threads: 2, target: target + '2' }).then(() => 'done', (error) => error.stack)
console.log(JSON.stringify({ first, second }))
`

describe('a worker thread', () => {
  const cases = [
    { way: 'throws', at: 4, to: 'qcow2', says: /nobody catches/ },
    { way: 'rejects', at: 4, to: 'qcow2', says: /error of the worker/ },
    { way: 'exits', at: 2, to: 'qcow2', says: /exit/ },
    { way: 'exits', at: 6, to: 'qcow2', says: /exit/ },
    { way: 'fills', at: 4, to: 'qcow2', says: /memory/ },
  ]

  it.each(sample(cases, 2))(
    'that $way at its task $at (to $to) fails the conversion, soon, and nothing is left',
    async (death) => {
      const folder = await freshFolder()
      const library = join(root, 'dist/index.js')
      const worker = new URL('support/bad-worker.mjs', import.meta.url).href
      const env = { WAY: death.way, AT: String(death.at), WORKER: workerOf(library) }
      const script = path('with-bad-workers.mjs')
      await writeFile(script, WITH_BAD_WORKERS)
      const args = ['--max-old-space-size=96', script, library, worker, image, join(folder, 'disk'), death.to]
      const { code, stdout, stderr } = await runNode(args, { env })
      expect({ code, stderr }).toMatchObject({ code: 0 })
      const { first, second } = JSON.parse(stdout.toString())
      expect(first).toMatchObject({ code: 'worker-lost', message: expect.stringMatching(death.says) })
      expect(second).toBe('done')
      expect(await readdir(folder)).toEqual(['disk2'])
    },
  )
})

const workerOf = (library: string) => new URL('pipeline/worker.js', pathToFileURL(library)).href
