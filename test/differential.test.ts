import { readFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { type Comparison, comparable, compareMutant, isDisagreement, isReadable } from './support/differential.ts'
import { classOf, differenceClasses } from './support/differential-classes.ts'
import { makeFuzzSubjects } from './support/fuzz-subjects.ts'
import { root } from './support/run-node.ts'
import { tempFolder } from './support/temp-folder.ts'

const path = tempFolder()
const MADE = 220
const SEED = 77_000_000

it('reads damaged images as QEMU does, but for the kinds of disagreement that are known', async () => {
  const folder = path('qemu')
  await mkdir(folder)
  const subjects = comparable(await makeFuzzSubjects())
  const compared: Comparison[] = []
  for (let seed = SEED; seed < SEED + MADE; seed++) {
    const comparison = await compareMutant(subjects, seed, folder)
    if (comparison !== undefined) compared.push(comparison)
  }
  const unknown = compared.filter((one) => isDisagreement(one) && classOf(one) === undefined)
  expect(unknown.map(({ seed, subject, verdict, detail }) => `${seed} ${subject.name}: ${verdict}: ${detail}`)).toEqual(
    [],
  )
  const readable = compared.filter(isReadable)
  console.log(`${readable.length} readable images of ${MADE}: ${compared.filter(isDisagreement).length} disagreements`)
  expect(readable.length).toBeGreaterThan(MADE / 4)
  const formats = new Set(readable.map(({ subject }) => subject.format))
  expect([...formats].sort()).toEqual(['qcow2', 'vdi', 'vhd', 'vhdx', 'vmdk'])
})

it('knows of each kind why it stays, and so does docs/differential.md', () => {
  const document = readFileSync(join(root, 'docs/differential.md'), 'utf8')
  for (const { verdict, formats, what, why } of differenceClasses) {
    expect(document).toContain(`| ${verdict} | ${formats.join(', ')} | ${what} | ${why} |`)
  }
})
