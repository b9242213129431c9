import { readdirSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { inspect } from '../src/index.ts'
import { readDisk } from './support/convert.ts'
import { attempt } from './support/fuzz-harness.ts'
import { makeFuzzSubjects } from './support/fuzz-subjects.ts'
import { hostileFiles } from './support/hostile-files.ts'
import { runNode } from './support/run-node.ts'
import { makeSmallImages } from './support/small-images.ts'
import { tempFolder } from './support/temp-folder.ts'

/** On a machine that does much else: on a quiet one it is thousands. */
const LEAST_EXECUTIONS = 100
/** Of the whole process: the subjects and the mutants that were kept, above all. */
const MOST_MEMORY = 768 * 2 ** 20

const path = tempFolder()
const images = await makeSmallImages()
const subjects = await makeFuzzSubjects()

it.each(images)('takes a small $name as it is', async ({ bytes, format }) => {
  expect((await inspect(bytes)).format).toBe(format)
  expect(await readDisk(bytes)).toHaveLength(300 * 1024)
})

it('damages an image of every format that is read', () => {
  const formats = [...new Set(subjects.map(({ format }) => format))].sort()
  expect(formats).toEqual(['qcow2', 'vdi', 'vhd', 'vhdx', 'vmdk', 'zvhd', 'zvhd2'])
  for (const { name, places } of subjects) expect(places.length, name).toBeGreaterThan(0)
})

/** In a process of its own: there nothing else is counted, and nobody else counts. */
it('refuses damaged images with its own errors, soon, in little memory, or reads them', async () => {
  const out = path('findings')
  const args = ['--import', './scripts/typescript.mjs', 'scripts/fuzz.ts', '--minutes', '0.3', '--out', out]
  const { code, stdout, stderr, maxRss } = await runNode(args, { timeoutMs: 110_000 })
  console.log(stdout.toString())
  expect({ code, stderr, found: readdirSync(out) }).toEqual({ code: 0, stderr: '', found: [] })
  expect(Number(/(\d+) executions/.exec(stdout.toString())?.[1])).toBeGreaterThan(LEAST_EXECUTIONS)
  expect(Number(/(\d+) mutants kept/.exec(stdout.toString())?.[1])).toBeGreaterThan(0)
  for (const outcome of ['decoded', 'agreed', 'planned', 'malformed', 'truncated', 'too-large']) {
    expect(stdout.toString()).toMatch(new RegExp(`\\b${outcome} [1-9]`))
  }
  expect(maxRss).toBeLessThan(MOST_MEMORY)
})

describe('the hostile file', () => {
  const files = hostileFiles()

  it.each(files)('$name gives one of our own errors, or a right result', async ({ bytes, format }) => {
    expect(await attempt({ bytes, format })).toMatch(/^[a-z-]+$/)
  })

  it('is one of several', () => expect(files.length).toBeGreaterThan(20))
})
