import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { transform } from 'esbuild'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ExitCode } from '../src/cli/exit-codes.ts'
import { verbsOf } from '../src/cli/grammar.ts'
import { createProgram } from '../src/cli/program.ts'
import { withFormatsTable, withOptionsTable } from './support/formats-table.ts'
import { anchorsOf, blocksOf, linksOf, page, pages } from './support/markdown.ts'
import { root, runNode } from './support/run-node.ts'

const all = pages()

describe('the pages', () => {
  it('lead to files and headings that are there', () => {
    const dead = all.flatMap((from) =>
      linksOf(from).flatMap((link) => {
        if (/^[a-z]+:/.test(link)) return []
        const [path = '', anchor] = link.split('#')
        const to = path === '' ? from.name : join(dirname(from.name), path)
        if (!existsSync(join(root, to))) return [`${from.name}: ${link}`]
        return anchor === undefined || anchorsOf(page(to)).includes(anchor) ? [] : [`${from.name}: ${link}`]
      }),
    )
    expect(all.flatMap(linksOf).length).toBeGreaterThan(20)
    expect(dead).toEqual([])
  })

  it('name only folders, files and commands that are there', async () => {
    const { scripts } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { scripts: object }
    for (const { name, text } of all.filter(({ name }) => name !== 'CHANGELOG.md')) {
      const named = [...text.matchAll(/`((?:src|fixtures|scripts|bench|test|docs)\/[\w./-]+)`/g)].map(
        ([, path = '']) => path,
      )
      expect({ name, gone: named.filter((path) => !existsSync(join(root, path))) }).toEqual({ name, gone: [] })
      for (const [, script = ''] of text.matchAll(/npm run ([\w:]+)/g)) expect(Object.keys(scripts)).toContain(script)
    }
  })

  it('have the tables that are made from the code (npm run docs)', () => {
    const readme = page('README.md').text
    expect(readme).toBe(withFormatsTable(readme))
    const formats = page('docs/formats.md').text
    expect(formats).toBe(withOptionsTable(formats))
  })

  it('do not wander off into what nobody outside can reach', () => {
    for (const { name, text } of all)
      expect({ name, text }).not.toMatchObject({ text: expect.stringMatching(/\/work\/|\bTODO\b/) })
  })
})

describe('docs/command-line.md', () => {
  const text = page('docs/command-line.md')

  it('has the exit codes as the command has them', () => {
    const listed = [...text.text.matchAll(/^\| (\d+) \| .+ \|$/gm)].map(([, code]) => Number(code))
    expect(listed).toEqual(Object.values(ExitCode).sort((a, b) => a - b))
  })

  it.each(verbsOf(createProgram()))(
    'has the options of $name as the command has them',
    ({ name, flags, arguments: places }) => {
      const [grammar = ''] = blocksOf(text, 'text')
      const [, line = ''] = new RegExp(`^diskferry ${name}\\b([^]*?)(?=^diskferry|$(?![^]))`, 'm').exec(grammar) ?? []
      const expected = flags.flatMap(({ short, long }) =>
        short === '-o' && long === '--option' ? [short] : [short, long],
      )
      const found = [...line.matchAll(/(?<=[\s[|])--?[a-z][a-z0-9-]*/g)].map(([flag]) => flag)
      expect(found.sort()).toEqual(expected.filter((flag) => flag !== undefined).sort())
      for (const { usage } of places.filter(({ values }) => values.length === 0 && name !== 'doctor'))
        expect(line).toContain(usage)
    },
  )
})

/** The programs in the pages, as files inside of the package, so that its own name leads to it. */
describe('the programs in the pages', () => {
  const programs = all.flatMap((from) =>
    blocksOf(from, 'ts').map((text, index) => ({ name: `${from.name}-${index}`, text })),
  )
  let folder: string
  const file = (name: string, extension: string) => join(folder, `${name.replaceAll(/[/.]/g, '-')}.${extension}`)

  beforeAll(async () => {
    await mkdir(join(root, '.cache'), { recursive: true })
    folder = await mkdtemp(join(root, '.cache/pages-'))
    for (const { name, text } of programs) await writeFile(file(name, 'ts'), text)
  })
  afterAll(() => rm(folder, { recursive: true, force: true }))

  it('are there', () => {
    expect(programs.length).toBeGreaterThanOrEqual(5)
  })

  it('hold their types', async () => {
    const compilerOptions = { noEmit: true, allowImportingTsExtensions: true }
    const config = { extends: join(root, 'tsconfig.json'), compilerOptions, include: ['*.ts'] }
    await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(config))
    const { code, stdout } = await runNode(['node_modules/typescript/bin/tsc', '-p', folder])
    expect({ code, stdout: stdout.toString() }).toEqual({ code: 0, stdout: '' })
  })

  it.each(programs)('can be loaded by plain Node: $name', async ({ name, text }) => {
    const { code } = await transform(text, { loader: 'ts', format: 'esm' })
    await writeFile(file(name, 'mjs'), `${code}\nprocess.exit()`)
    const result = await runNode([file(name, 'mjs')])
    expect({ code: result.code, stdout: result.stdout.toString() }).toEqual({ code: 0, stdout: '' })
  })
})
