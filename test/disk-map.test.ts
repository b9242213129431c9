import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import { beforeAll, describe, expect, it } from 'vitest'
import { KiB, MiB } from '../src/bytes/units.ts'
import { mapHtml, mapSvg } from '../src/cli/map-svg.ts'
import { convert, type DiskMap, mapImage, memorySource, type RegionBar, type RegionKind } from '../src/index.ts'
import { contentOf, makePattern } from './support/pattern.ts'
import { convertImage, mapImage as mapByQemu, type QemuMapEntry } from './support/qemu.ts'
import { root, runCli } from './support/run-node.ts'
import { tempFolder } from './support/temp-folder.ts'
import { runTool } from './support/tools.ts'

const path = tempFolder()
const real = `${root}fixtures/real-ext4.qcow2`
const size = 24 * MiB
const CELLS = 96

beforeAll(async () => {
  writeFileSync(path('disk.raw'), contentOf(makePattern(5, size, 12)))
  await convertImage([path('disk.raw'), 'raw'], [path('disk.qcow2'), 'qcow2'], { options: { cluster_size: 4096 } })
})

/** Bytes by cell, reckoned from what QEMU says of the image. */
function cellsOf(entries: readonly QemuMapEntry[], total: number, at: (entry: QemuMapEntry) => number | undefined) {
  const cellSize = Math.ceil(total / CELLS / 512) * 512
  const cells = Array<number>(Math.ceil(total / cellSize)).fill(0)
  for (const entry of entries) {
    const start = at(entry)
    if (start === undefined) continue
    for (let cell = 0; cell < cells.length; cell++) {
      const from = Math.max(start, cell * cellSize)
      const to = Math.min(start + entry.length, (cell + 1) * cellSize)
      if (to > from) cells[cell] = (cells[cell] as number) + to - from
    }
  }
  return cells
}

const sum = ({ bytes }: RegionBar, kind: RegionKind) => (bytes[kind] ?? []).reduce((total, cell) => total + cell, 0)

describe('mapImage', () => {
  it('has data in the disk and in the file where QEMU has it', async () => {
    const { source } = await mapImage({ source: path('disk.qcow2'), cells: CELLS })
    const entries = (await mapByQemu(path('disk.qcow2'), 'qcow2')).filter(({ data }) => data)
    expect(entries.length).toBeGreaterThan(5)
    expect(source.guest.bytes.data).toEqual(cellsOf(entries, size, ({ start }) => start))
    const fileSize = (await stat(path('disk.qcow2'))).size
    expect(source.container?.bytes.data).toEqual(cellsOf(entries, fileSize, ({ offset }) => offset))
    expect(sum(source.container as RegionBar, 'data') + sum(source.container as RegionBar, 'metadata')).toBe(fileSize)
  })

  it.each([
    ['qcow2', 'qcow2'],
    ['vhd', 'vpc'],
  ] as const)('lays a %s out as the conversion then makes it', async (to, format) => {
    const { target, source } = await mapImage({ source: path('disk.qcow2'), to, cells: CELLS })
    await convert({ source: path('disk.qcow2'), to, target: path(`made.${to}`) })
    expect(target?.size).toBe((await stat(path(`made.${to}`))).size)
    const made = await mapImage({ source: path(`made.${to}`), cells: CELLS })
    expect(target?.guest.bytes.data).toEqual(made.source.guest.bytes.data)
    const entries = (await mapByQemu(path(`made.${to}`), format)).filter(({ data }) => data)
    const inUnits = cellsOf(entries, made.source.virtualSize, ({ start }) => start)
    if (to === 'qcow2') expect(target?.guest.bytes.data).toEqual(inUnits)
    const container = target?.container as RegionBar
    expect(sum(container, 'data') + sum(container, 'zero') + sum(container, 'metadata')).toBe(target?.size)
    expect(sum(container, 'data')).toBeLessThanOrEqual(sum(source.guest, 'data'))
  })

  it('knows only a bound where units are packed on the way', async () => {
    const { target } = await mapImage({ source: path('disk.qcow2'), to: 'vmdk' })
    await convert({ source: path('disk.qcow2'), to: 'vmdk', target: path('made.vmdk') })
    expect(target).not.toHaveProperty('size')
    expect(target).not.toHaveProperty('container')
    expect(target?.sizeAtMost).toBeGreaterThanOrEqual((await stat(path('made.vmdk'))).size)
  })

  it('does not grow with the disk', async () => {
    const { source } = await mapImage({ source: memorySource(Buffer.alloc(64 * KiB)), from: 'raw', cells: 4096 })
    expect(source.guest).toMatchObject({ cellSize: 512, bytes: { data: Array(128).fill(512) } })
    const reallyLarge = { size: 2 ** 52, read: (_: number, length: number) => Buffer.alloc(length) }
    expect((await mapImage({ source: reallyLarge, from: 'raw', cells: 10 })).source.guest.bytes.data).toHaveLength(10)
  })

  it.each([0, 4097, 1.5])('takes no %s cells', async (cells) => {
    await expect(mapImage({ source: real, cells })).rejects.toMatchObject({ code: 'usage', found: cells })
  })
})

describe('diskferry map', () => {
  it('shows source, target and partitions as text', async () => {
    const { code, stdout, stderr } = await runCli(['map', 'fixtures/real-ext4.qcow2', '--to', 'vhd'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout.toString()).toMatchInlineSnapshot(`
      "fixtures/real-ext4.qcow2
        source: qcow2 (v3)
          disk of 64 MiB: packed 1.94 MiB, hole 62.1 MiB
          ░▒···█░··░·······░·······░···············░···············░·····░
           11111111111111111111111111111111111111111111111111111111111111
          file of 740.5 KiB: packed 427.0 KiB, metadata 319.0 KiB
          ██████████████████████████████████████████████████████████████
        target: vhd (dynamic)
          disk of 64 MiB: data 18 MiB, hole 46 MiB
          ██··██████······██······██··············██··············██····██
          file of 18.0 MiB: data 1.94 MiB, zero 16.1 MiB, metadata 7 KiB
          ░··▒█··░···████░·····░··░░··░··░░··░···░··░···░··░···░··░······░
        GPT, 1 partitions
          1  at 1 MiB  62 MiB  Linux data  "root"  ext4 "small"
      "
    `)
  })

  it('prints what the library says, as one JSON object', async () => {
    const { stdout } = await runCli(['map', real, '--json', '--to', 'qcow2', '--option', 'cluster_size=4K'])
    const expected = await mapImage({ source: real, to: 'qcow2', options: { cluster_size: 4096 }, cells: 500 })
    expect(JSON.parse(stdout.toString())).toEqual(JSON.parse(JSON.stringify(expected)))
  })

  it.each(['svg', 'html'])('draws an %s that is well-formed and holds every bar', async (type) => {
    const drawing = path(`map.${type}`)
    const { code, stdout, stderr } = await runCli(['map', real, '--to', 'vhd', '-o', drawing])
    expect({ code, stderr, stdout: stdout.toString() }).toEqual({ code: 0, stderr: '', stdout: '' })
    if (type === 'svg') await runTool('xmllint', ['--noout', drawing])
    const text = await readFile(drawing, 'utf8')
    for (const words of ['source, qcow2 v3', 'target, vhd dynamic', '1 root ext4 62 MiB']) expect(text).toContain(words)
    expect(text).not.toMatch(/NaN|undefined|<script/)
  })

  it('refuses a drawing of another kind, and says when it can not write one', async () => {
    expect(await runCli(['map', real, '-o', path('map.png')])).toMatchObject({ code: 2 })
    expect(await runCli(['map', real, '-o', path('none/map.svg')])).toMatchObject({ code: 5 })
  })

  it('shows colours only on a terminal, and not to those who want none', async () => {
    const onTerminal = (environment: string) =>
      execFileSync('script', ['-qec', `${environment} ${process.execPath} dist/cli/main.js map ${real}`, '/dev/null'], {
        cwd: root,
        encoding: 'utf8',
      })
    // Nothing of the caller's environment: CI=1 or FORCE_COLOR=0 is a wish for no colours too.
    expect(onTerminal('env -i TERM=xterm')).toContain('\u001b[36m')
    expect(onTerminal('env -i NO_COLOR=1 TERM=xterm')).not.toContain('\u001b')
    expect((await runCli(['map', real])).stdout.toString()).not.toContain('\u001b')
  })
})

describe('a drawing', () => {
  it('escapes what comes from an image', async () => {
    const map = await mapImage({ source: real })
    const [partition] = map.content.partitions
    const name = '<script>alert("&")</script>\u001b[2J'
    const hostile: DiskMap = {
      ...map,
      name,
      content: { ...map.content, partitions: [{ ...partition, name } as DiskMap['content']['partitions'][number]] },
    }
    for (const text of [mapSvg(hostile), mapHtml(hostile)]) {
      for (const evil of ['<script', '\u001b']) expect(text).not.toContain(evil)
      expect(text).toContain('&#60;script&#62;')
    }
  })
})
