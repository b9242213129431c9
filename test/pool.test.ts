import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { convert, createPool } from '../src/index.ts'
import { noise } from './support/pattern.ts'
import { tempFolder } from './support/temp-folder.ts'
import { runTool } from './support/tools.ts'

const path = tempFolder()
const disk = noise(1, 32 * 2 ** 20)
const library = fileURLToPath(new URL('../dist/index.js', import.meta.url))

/** Workers take some 50 ms to load: they are ended before, meanwhile and after. */
const SHORT_LIVES = `
import { pathToFileURL } from 'node:url'
import { setTimeout as delay } from 'node:timers/promises'
const { createPool } = await import(pathToFileURL(process.argv[1]))
for (let life = 0; life < 40; life++) {
  const pool = createPool({ threads: 2 })
  await delay((life * 7) % 70)
  await pool.close()
}
console.log('alive')
`

/** Says when it has been loaded, which takes a while. */
const SLOW_WORKER = `
import { writeFileSync } from 'node:fs'
import { threadId } from 'node:worker_threads'
Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100)
writeFileSync(new URL('loaded-' + threadId, import.meta.url), '')
export default () => undefined
`

/** Of all threads of this process that step back; field 19 of proc(5), the program's name, in brackets, being the second. */
async function nicenesses(): Promise<number[]> {
  const threads = await readdir('/proc/self/task')
  const stats = await Promise.all(threads.map((id) => readFile(`/proc/self/task/${id}/stat`, 'utf8').catch(() => ') ')))
  return stats.map((stat) => Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16])).filter((nice) => nice > 0)
}

/** Does what can't be interrupted; a thread is ended only after it. */
const STUBBORN_WORKER = `
import { execFileSync } from 'node:child_process'
export default ({ kind }) => {
  if (kind !== 'load') execFileSync('sleep', ['15'])
  return {}
}
`

describe('a pool', () => {
  it('waits with closing until its workers have loaded: to end one before can end the process', async () => {
    const workerFile = path('slow-worker.mjs')
    await writeFile(workerFile, SLOW_WORKER)
    await createPool({ threads: 2, workerFile }).close()
    expect((await readdir(dirname(workerFile))).filter((name) => name.startsWith('loaded-'))).toHaveLength(2)
  })

  it.runIf(process.platform === 'linux')('steps back behind the thread that it works for', async () => {
    const pool = createPool({ threads: 2 })
    const before = await nicenesses()
    await convert({ source: disk, from: 'raw', to: 'raw', target: path('nice.raw'), pool })
    // The calling thread may have done it all before the others had loaded.
    await expect.poll(nicenesses, { timeout: 10_000 }).toEqual([...before, 5, 5])
    await pool.close()
    expect(() => createPool({ niceness: 20 })).toThrow('up to 19')
  })

  it.runIf(process.platform === 'linux')(
    'copies on the calling thread where that is free, and has it helped',
    async () => {
      const source = path('disk.raw')
      await writeFile(source, disk)
      const pool = createPool({ threads: 3, copyHere: true })
      const before = await nicenesses()
      await convert({ source, from: 'raw', to: 'raw', target: path('copied.raw'), pool })
      expect((await readFile(path('copied.raw'))).equals(disk)).toBe(true)
      await expect.poll(nicenesses, { timeout: 10_000 }).toEqual([...before, 5, 5])
      await convert({ source, from: 'raw', to: 'vmdk', target: path('packed.vmdk'), pool })
      await expect.poll(nicenesses, { timeout: 10_000 }).toEqual([...before, 5, 5, 5])
      await pool.close()
      await expect.poll(nicenesses, { timeout: 10_000 }).toEqual(before)
    },
  )

  it('is closed while its workers still load, and the process lives on', async () => {
    const { stdout } = await runTool(process.execPath, ['--input-type=module', '--eval', SHORT_LIVES, library])
    expect(stdout).toBe('alive\n')
  })

  it('is closed although a thread does not end', { timeout: 12_000 }, async () => {
    const workerFile = path('stubborn-worker.mjs')
    await writeFile(workerFile, STUBBORN_WORKER)
    const pool = createPool({ threads: 1, workerFile })
    await pool.run('load', { codecs: [] })
    const stuck = pool.run('pack', {} as never).catch((error) => error)
    await delay(500)
    await pool.close()
    expect(await stuck).toMatchObject({ code: 'worker-lost' })
  })

  it('without threads gives the event loop a turn between tasks', async () => {
    let turns = 0
    const counting = setInterval(() => turns++, 0)
    await convert({ source: disk, from: 'raw', to: 'raw', target: path('turns.raw'), threads: 0 })
    clearInterval(counting)
    expect(turns).toBeGreaterThan(3)
  })

  it('whose worker can not be loaded rejects, and leaves no target', { timeout: 10_000 }, async () => {
    const target = path('never.vmdk')
    const workerFile = path('no-worker.js')
    // What is only copied may be done here by then: units are packed by workers alone.
    const conversion = convert({ source: disk, from: 'raw', to: 'vmdk', target, threads: 1, workerFile })
    await expect(conversion).rejects.toMatchObject({ code: 'worker-lost' })
    await expect(stat(target)).rejects.toThrow('ENOENT')
  })
})
