import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { convert, folderCompanions, inspect, memorySource, openImage } from '../src/index.ts'
import { makePattern, writePattern } from './support/pattern.ts'
import { convertImage, createImage, differenceOf, qemuIo, takeSnapshot } from './support/qemu.ts'
import { tempFolder } from './support/temp-folder.ts'
import { runTool } from './support/tools.ts'

const path = tempFolder()
const MiB = 2 ** 20

async function chain(name: string): Promise<string> {
  const folder = path(name)
  await mkdir(folder)
  await createImage(`${folder}/base.qcow2`, 'qcow2', 20 * MiB)
  await writePattern(`${folder}/base.qcow2`, 'qcow2', makePattern(1, 20 * MiB))
  await convertImage([`${folder}/base.qcow2`, 'qcow2'], [`${folder}/packed.qcow2`, 'qcow2'], { compress: true })
  const child = (parent: string, file: string, ...args: string[]) =>
    runTool('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', parent, '-F', 'qcow2', ...args], { cwd: folder }).then(
      () => file,
    )
  await child('packed.qcow2', 'mid', 'mid.qcow2')
  await qemuIo(`${folder}/mid.qcow2`, 'qcow2', ['write -q -P 9 1M 300K', 'write -q -z 2M 100K'])
  await child('mid.qcow2', 'top', '-o', 'cluster_size=4k', 'top.qcow2', '24M')
  await qemuIo(`${folder}/top.qcow2`, 'qcow2', ['write -q -P 5 1100K 5K', 'write -q -P 3 22M 1M'])
  return folder
}

describe('backing files', () => {
  it('a chain of three, compressed and not, with other cluster sizes and other disk sizes, reads as qemu-img reads it', async () => {
    const folder = await chain('chain')
    const source = `${folder}/top.qcow2`
    for (const [to, qemu] of [
      ['vhd', 'vpc'],
      ['qcow2', 'qcow2'],
      ['raw', 'raw'],
    ] as const) {
      const target = path(`chain.${to}`)
      await convert({ source, to, target, backing: folderCompanions(folder) })
      expect(await differenceOf([source, 'qcow2'], [target, qemu])).toBeUndefined()
    }
  })

  it('are not opened unless the caller opens the gate', async () => {
    const folder = await chain('shut')
    const conversion = convert({ source: `${folder}/top.qcow2`, to: 'raw', target: path('shut.raw'), threads: 0 })
    await expect(conversion).rejects.toMatchObject({ code: 'unsafe-image', found: 'mid.qcow2' })
    expect((await inspect(`${folder}/top.qcow2`)).backingFile).toBe('mid.qcow2')
  })

  it.each(['/etc/hostname', '../secret.qcow2', 'nbd://127.0.0.1:1'])(
    'a backing file named %s is not handed over by a folder',
    async (name) => {
      const folder = path(`evil-${name.length}`)
      await mkdir(folder)
      await runTool('qemu-img', ['create', '-q', '-u', '-f', 'qcow2', '-b', name, '-F', 'raw', 'e.qcow2', '1M'], {
        cwd: folder,
      })
      const backing = folderCompanions(folder)
      const conversion = convert({
        source: `${folder}/e.qcow2`,
        to: 'raw',
        target: path('evil.raw'),
        backing,
        threads: 0,
      })
      await expect(conversion).rejects.toMatchObject({ code: 'unsafe-image', found: name })
    },
  )

  it('an image that names itself is a chain without an end, and an error', async () => {
    const folder = path('loop')
    await mkdir(folder)
    await createImage(`${folder}/a.qcow2`, 'qcow2', MiB)
    await runTool('qemu-img', ['rebase', '-u', '-b', 'a.qcow2', '-F', 'qcow2', 'a.qcow2'], { cwd: folder })
    const backing = folderCompanions(folder)
    const conversion = convert({
      source: `${folder}/a.qcow2`,
      to: 'raw',
      target: path('loop.raw'),
      backing,
      threads: 0,
    })
    await expect(conversion).rejects.toMatchObject({ code: 'too-large' })
  })

  it('closes every file that it was handed', async () => {
    const bytes = await readFile(`${await chain('closing')}/top.qcow2`)
    const folder = path('closing')
    let open = 0
    const backing = {
      async open(name: string) {
        const source = memorySource(await readFile(`${folder}/${name}`))
        open += 1
        const close = async () => {
          open -= 1
        }
        return { ...source, close }
      },
    }
    const image = await openImage(memorySource(bytes), { backing })
    expect(open).toBe(2)
    await image.close?.()
    expect(open).toBe(0)
  })
})

it('a json: description is a file name like any other, and no file has it', async () => {
  const folder = path('json')
  await mkdir(folder)
  const name = 'json:{"driver":"null-co"}'
  await runTool('qemu-img', ['create', '-q', '-u', '-f', 'qcow2', '-b', name, '-F', 'raw', 'e.qcow2', '1M'], {
    cwd: folder,
  })
  const backing = folderCompanions(folder)
  const conversion = convert({ source: `${folder}/e.qcow2`, to: 'raw', target: path('json.raw'), backing, threads: 0 })
  await expect(conversion).rejects.toMatchObject({ code: 'source-unreadable', found: 'ENOENT' })
})

it('an external data file is read through the same gate', async () => {
  const cwd = path('data')
  await mkdir(cwd)
  await runTool('qemu-img', ['create', '-q', '-f', 'qcow2', '-o', 'data_file=d.raw', 'x.qcow2', '9M'], { cwd })
  const writes = ['write -q -P 9 0 300K', 'write -q -P 7 5000K 100K', 'write -q -z 100K 50K', 'write -q -P 5 9215K 1K']
  await runTool('qemu-io', ['-f', 'qcow2', ...writes.flatMap((write) => ['-c', write]), 'x.qcow2'], { cwd })
  const [source, target] = [`${cwd}/x.qcow2`, path('data.raw')]
  const refused = convert({ source, to: 'raw', target, threads: 0 })
  await expect(refused).rejects.toMatchObject({ code: 'unsafe-image', found: 'd.raw' })
  await convert({ source, to: 'raw', target, backing: folderCompanions(cwd) })
  const { stdout } = await runTool('qemu-img', ['compare', '-f', 'qcow2', '-F', 'raw', 'x.qcow2', target], { cwd })
  expect(stdout).toContain('Images are identical')
})

it('an internal snapshot is read by name and by id, at the size that it had', async () => {
  const [before, image, target] = [path('before.qcow2'), path('snap.qcow2'), path('snap.raw')]
  await createImage(before, 'qcow2', 6 * MiB)
  await writePattern(before, 'qcow2', makePattern(6, 6 * MiB))
  await copyFile(before, image)
  await takeSnapshot(image, 'first')
  await qemuIo(image, 'qcow2', ['write -q -P 9 0 2M'])
  for (const snapshot of ['first', '1']) {
    await convert({ source: image, snapshot, to: 'raw', target })
    expect(await differenceOf([before, 'qcow2'], [target, 'raw'])).toBeUndefined()
  }
  const missing = convert({ source: image, snapshot: 'second', to: 'raw', target })
  await expect(missing).rejects.toMatchObject({ code: 'usage', expected: '1 (first)' })
})

it('a format without snapshots says so', async () => {
  await writeFile(path('plain.raw'), Buffer.alloc(512))
  const conversion = convert({
    source: path('plain.raw'),
    from: 'raw',
    snapshot: 'x',
    to: 'raw',
    target: path('no.raw'),
  })
  await expect(conversion).rejects.toMatchObject({ code: 'usage' })
})
