import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { transform } from 'esbuild'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ExitCode } from '../src/cli/exit-codes.ts'
import { withFormatsTable } from './support/formats-table.ts'
import { root, runCli, runNode } from './support/run-node.ts'

const readme = await readFile(join(root, 'README.md'), 'utf8')
/** What stands in fences of one language. */
const blocks = (language: string) =>
  [...readme.matchAll(new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\`$`, 'gm'))].map(([, text = '']) => text)

describe('README.md', () => {
  it('has the formats as the code has them (npm run docs)', () => {
    expect(readme).toBe(withFormatsTable(readme))
  })

  it('has the exit codes as the command has them', () => {
    const listed = [...readme.matchAll(/^\| (\d+) \| .+ \|$/gm)].map(([, code]) => Number(code))
    expect(listed).toEqual(Object.values(ExitCode).sort((a, b) => a - b))
  })

  it.each(['inspect', 'convert', 'formats'])('has the options of %s as the command has them', async (command) => {
    const [grammar = ''] = blocks('text')
    const [, line = ''] = new RegExp(`^diskferry ${command} ([^]*?)(?=^diskferry|$(?![^]))`, 'm').exec(grammar) ?? []
    const { stdout } = await runCli([command, '--help'])
    const flags = [...stdout.toString().matchAll(/^ {2}(?:(-\w), )?(--[a-z-]+)/gm)].filter(
      ([, , long]) => long !== '--help',
    )
    const expected = flags.map(([, short, long]) => (short === '-o' ? short : long))
    expect([...line.matchAll(/--[a-z-]+|-o/g)].map(([flag]) => flag).sort()).toEqual(expected.sort())
  })

  it('names only folders and files that are there', async () => {
    const named = [...readme.matchAll(/`((?:src|fixtures|scripts|bench)\/[\w./-]+)`/g)].map(([, name = '']) => name)
    expect(named.length).toBeGreaterThan(4)
    expect(named.filter((name) => !existsSync(join(root, name)))).toEqual([])
  })

  it('names only commands that are there', async () => {
    const { scripts } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { scripts: object }
    for (const [, name = ''] of readme.matchAll(/npm run ([\w:]+)/g)) expect(Object.keys(scripts)).toContain(name)
  })

  it('shows a demo that works', async () => {
    expect(blocks('sh')[0]).toBe('npm ci && npm run demo\n')
    const { stdout } = await promisify(execFile)('npm', ['run', '--silent', 'demo'], { cwd: root })
    expect(stdout).toMatch(/^result +equal/m)
  })
})

describe("README.md's programs", () => {
  const programs = blocks('ts')
  let folder: string

  beforeAll(async () => {
    // Inside the package, so that its own name leads to it.
    await mkdir(join(root, '.cache'), { recursive: true })
    folder = await mkdtemp(join(root, '.cache/readme-'))
    for (const [index, text] of programs.entries()) await writeFile(join(folder, `program${index}.ts`), text)
  })
  afterAll(() => rm(folder, { recursive: true, force: true }))

  it('are there', () => {
    expect(programs).toHaveLength(3)
  })

  it('hold their types', async () => {
    const compilerOptions = { noEmit: true, allowImportingTsExtensions: true }
    const config = { extends: join(root, 'tsconfig.json'), compilerOptions, include: ['*.ts'] }
    await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(config))
    const { code, stdout } = await runNode(['node_modules/typescript/bin/tsc', '-p', folder])
    expect({ code, stdout: stdout.toString() }).toEqual({ code: 0, stdout: '' })
  })

  it('can be loaded by plain Node', async () => {
    for (const [index, text] of programs.entries()) {
      const { code } = await transform(text, { loader: 'ts', format: 'esm' })
      await writeFile(join(folder, `program${index}.mjs`), `${code}\nprocess.exit()`)
      const result = await runNode([join(folder, `program${index}.mjs`)])
      expect({ code: result.code, stdout: result.stdout.toString() }).toEqual({ code: 0, stdout: '' })
    }
  })
})
