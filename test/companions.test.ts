import { mkdir, symlink, unlink, writeFile } from 'node:fs/promises'
import { beforeAll, describe, expect, it } from 'vitest'
import { fileSource, folderCompanions, memorySource } from '../src/index.ts'
import { joinSources } from '../src/io/join-sources.ts'
import { tempFolder } from './support/temp-folder.ts'
import { runTool } from './support/tools.ts'

const path = tempFolder()

beforeAll(async () => {
  await mkdir(path('folder/sub'), { recursive: true })
  await writeFile(path('outside'), 'secret')
  await writeFile(path('folder/inside'), 'here')
  await writeFile(path('folder/two..dots'), 'dots')
  await writeFile(path('folder/sub/below'), 'deep')
  await symlink('inside', path('folder/near'))
  await symlink('sub/below', path('folder/deeper'))
  await symlink('../outside', path('folder/far'))
  await symlink('sub', path('folder/link to a folder'))
  await symlink('missing', path('folder/broken'))
  await symlink('loop', path('folder/loop'))
  await symlink('folder', path('alias'))
  await runTool('mkfifo', [path('folder/fifo')])
})

describe('files of a folder', () => {
  it.each(['inside', 'near', 'deeper', 'two..dots'])('hands over %s', async (name) => {
    for (const folder of ['folder', 'alias']) {
      const source = await folderCompanions(path(folder)).open(name)
      expect(source?.size).toBe(4)
      await source?.close?.()
    }
  })

  it.each([
    { what: 'a link that leads out', name: 'far' },
    { what: 'a folder', name: 'sub' },
    { what: 'a link to a folder', name: 'link to a folder' },
    { what: 'a FIFO', name: 'fifo' },
    { what: 'a path out of it', name: '../outside' },
    { what: 'a path into it', name: 'sub/below' },
    { what: 'a path that stays', name: './inside' },
    { what: 'an absolute path', name: '/etc/passwd' },
    { what: 'a Windows path', name: '..\\outside' },
    { what: 'the folder itself', name: '.' },
    { what: 'the folder above', name: '..' },
    { what: 'no name', name: '' },
    { what: 'a name with a zero byte', name: 'in\0side' },
  ])('does not hand over $what', async ({ name }) => {
    expect(await folderCompanions(path('folder')).open(name)).toBeUndefined()
  })

  it.each([
    { name: 'missing', found: 'ENOENT' },
    { name: 'broken', found: 'ENOENT' },
    { name: 'loop', found: 'ELOOP' },
  ])('says why it can not open $name', async ({ name, found }) => {
    const opened = folderCompanions(path('folder')).open(name)
    await expect(opened).rejects.toMatchObject({ code: 'source-unreadable', found })
  })
})

describe('sources joined', () => {
  const parts = ['abc', '', 'defgh', 'i', ''].map((text) => memorySource(Buffer.from(text)))
  const read = async (offset: number, length: number) =>
    Buffer.from(await joinSources(parts).read(offset, length)).toString()

  it('begin one behind the other', () => {
    expect(joinSources(parts)).toMatchObject({ size: 9, bases: [0, 3, 3, 8, 9] })
    expect(joinSources([])).toMatchObject({ size: 0, bases: [] })
  })

  it('are read across their borders, and to the end', async () => {
    expect(await read(0, 9)).toBe('abcdefghi')
    expect(await read(2, 3)).toBe('cde')
    expect(await read(3, 5)).toBe('defgh')
    expect(await read(8, 5)).toBe('i')
    expect(await read(9, 5)).toBe('')
  })

  it('say which one gave too little', async () => {
    const short = { size: 5, name: 'short one', read: () => Buffer.from('ab') }
    const joined = joinSources([memorySource(Buffer.from('abc')), short])
    await expect(joined.read(0, 8)).rejects.toMatchObject({
      code: 'short-read',
      offset: 0,
      message: expect.stringContaining('short one'),
    })
  })

  it('are files as far as every part is one', async () => {
    const [first, second] = [await fileSource(path('outside')), await fileSource(path('folder/inside'))]
    expect(joinSources([first, memorySource(Buffer.alloc(0)), second]).files).toMatchObject([
      { base: 0, length: 6 },
      { base: 6, length: 4 },
    ])
    expect(joinSources([first, memorySource(Buffer.alloc(1)), second]).files).toMatchObject([{ base: 0, length: 6 }])
    expect(joinSources([memorySource(Buffer.alloc(1)), first]).files).toBeUndefined()
    await first.close?.()
    await second.close?.()
  })

  it('have changed when one of them has', async () => {
    await writeFile(path('changing'), 'before')
    const [still, changing] = [await fileSource(path('outside')), await fileSource(path('changing'))]
    const joined = joinSources([still, changing])
    await joined.assertUnchanged?.()
    await writeFile(path('changing'), 'afterwards')
    await expect(joined.assertUnchanged?.()).rejects.toMatchObject({ code: 'source-changed' })
    await still.close?.()
    await changing.close?.()
    await unlink(path('changing'))
  })
})
