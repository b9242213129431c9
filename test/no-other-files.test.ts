import { mkdir, writeFile } from 'node:fs/promises'
import { expect, it } from 'vitest'
import { mutate } from './support/fuzz-mutator.ts'
import { makeFuzzSubjects } from './support/fuzz-subjects.ts'
import { hostileFiles } from './support/hostile-files.ts'
import { buildQcow2 } from './support/qcow2-builder.ts'
import { tempFolder } from './support/temp-folder.ts'
import { traceImages } from './support/traced.ts'

const path = tempFolder()
const MUTANTS = 80

/** What the program itself opens while it works: a folder is read by the script, a file by its name. */
const isOwn = (folder: string, opened: string) =>
  new RegExp(`^${folder}/set(/\\d+(/image\\.[a-z0-9]+)?|/target(/disk|/\\.diskferry-[0-9a-f]+\\.partial)?)$`).test(
    opened,
  )

async function hostileSet(): Promise<{ name: string; bytes: Buffer }[]> {
  const subjects = await makeFuzzSubjects()
  const mutants = Array.from({ length: MUTANTS }, (_, seed) => {
    const subject = subjects[seed % subjects.length] as (typeof subjects)[number]
    const bytes = mutate(subject, subject.bytes, seed)
    return { format: subject.format, bytes: subject.wrap?.(bytes).bytes ?? bytes }
  })
  return [...hostileFiles(), ...mutants].map(({ format, bytes }) => ({ name: `image.${format}`, bytes }))
}

it('opens no file and asks no host but those that the caller named, whatever an image says', async () => {
  const folder = path('hostile')
  const { opened, asked, images, counts } = await traceImages(folder, await hostileSet())
  console.log(`${images} images, ${opened.length} calls to open: ${JSON.stringify(counts)}`)
  expect([...new Set(opened.filter((name) => !isOwn(folder, name)))]).toEqual([])
  expect(asked).toEqual([])
  expect(opened.length).toBeGreaterThan(images)
  for (const outcome of ['done', 'unsafe-image', 'malformed']) expect(counts[outcome], outcome).toBeGreaterThan(0)
})

it('would see it: a backing file that the caller allows is opened, and the same image without leave opens none', async () => {
  await mkdir(path('other'))
  await writeFile(path('other/base.raw'), Buffer.alloc(4096, 1))
  const image = { name: 'image.qcow2', bytes: buildQcow2({ backing: { offset: 1024, name: 'base.raw' } }) }
  const allowed = await traceImages(path('allowed'), [image], path('other'))
  expect(allowed.opened).toContain(path('other/base.raw'))
  const refused = await traceImages(path('refused'), [image])
  expect(refused.opened.filter((name) => name.includes('base.raw'))).toEqual([])
  expect(refused.counts).toHaveProperty('unsafe-image')
})
