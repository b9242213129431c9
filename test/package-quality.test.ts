import { execFileSync } from 'node:child_process'
import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { apiSurfaces } from './support/api-surface.ts'
import { blocksOf, page } from './support/markdown.ts'
import { installPacked } from './support/packed-project.ts'
import { differenceOf } from './support/qemu.ts'
import { root, runNode } from './support/run-node.ts'
import { tempFolder } from './support/temp-folder.ts'

const path = tempFolder()
const project = path('project')
const image = join(root, 'fixtures/real-ext4.qcow2')
const KiB = 1024
let tarball: string

beforeAll(async () => {
  tarball = await installPacked(project)
})

/** Runs a program of a package that the project itself depends on. */
async function runPackage(file: string, args: readonly string[]): Promise<{ code: number | null; said: string }> {
  const { code, stdout, stderr } = await runNode([join(root, 'node_modules', file), ...args], { cwd: project })
  return { code, said: `${stdout}${stderr}` }
}

describe('the package', () => {
  it('has nothing that publint minds', async () => {
    const { code, said } = await runPackage('publint/src/cli.js', [tarball, '--strict'])
    expect({ code, said }).toMatchObject({ code: 0, said: expect.stringContaining('All good') })
  })

  it('has types that resolve in every way that modules are resolved', async () => {
    // Node 20.19 and newer require ES modules, so there is one build; attw calls that profile esm-only.
    const args = [tarball, '--profile', 'esm-only', '--format', 'json', '--no-emoji']
    const { code, said } = await runPackage('@arethetypeswrong/cli/dist/index.js', args)
    expect({ code, said: code === 0 ? '' : said }).toEqual({ code: 0, said: '' })
  })

  it('has, for every entry, a file that is there', async () => {
    const { exports, man, bin } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
    const files = [man, bin.diskferry, ...Object.values(exports).flatMap((entry) => Object.values(entry as object))]
    for (const file of files.filter((name) => /^\.\//.test(name)))
      expect((await stat(join(project, 'node_modules/diskferry', file))).isFile()).toBe(true)
  })

  it('stays small', async () => {
    expect((await stat(tarball)).size).toBeLessThan(300 * KiB)
    const folder = join(project, 'node_modules/diskferry')
    const files = await readdir(folder, { recursive: true, withFileTypes: true })
    const sizes = await Promise.all(
      files.filter((file) => file.isFile()).map(async (file) => (await stat(join(file.parentPath, file.name))).size),
    )
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThan(1200 * KiB)
  })

  it('shows its callers what it showed before', async () => {
    // Whatever changes here is told in CHANGELOG.md; what goes away makes a new major version.
    const entries = {
      index: 'src/index.ts',
      s3: 'src/s3.ts',
      rules: 'src/rules/index.ts',
      service: 'src/service/index.ts',
    }
    const surfaces = apiSurfaces(Object.values(entries))
    for (const [at, name] of Object.keys(entries).entries()) {
      await expect(surfaces[at]).toMatchFileSnapshot(`surface/${name}.txt`)
    }
  })
})

/** By the configurations that docs/embedding.md gives. */
describe('a bundle', () => {
  const guide = page('docs/embedding.md')
  const text = `
    import { convert } from 'diskferry'
    const [source, target] = process.argv.slice(2)
    convert({ source, to: 'vhd', target, threads: 2 }).then(({ crc32c }) => console.log(crc32c))`

  beforeAll(() => writeFile(join(project, 'app.js'), text))

  async function expectToConvert(program: string): Promise<void> {
    const { code, stdout, stderr } = await runNode([program, image, path('bundled.vhd')], { cwd: project })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout.toString()).toMatch(/^[0-9a-f]{8}\n$/)
    expect(await differenceOf([image, 'qcow2'], [path('bundled.vhd'), 'vpc'])).toBeUndefined()
  }

  it('by webpack finds the worker that is its second entry, and converts', async () => {
    const [configuration = ''] = blocksOf(guide, 'js')
    await writeFile(join(project, 'webpack.config.mjs'), configuration)
    const webpack = `
      import { createRequire } from 'node:module'
      import configuration from './webpack.config.mjs'
      createRequire(${JSON.stringify(join(root, 'package.json'))})('webpack')(configuration, (error, stats) => {
        if (error || stats.hasErrors()) throw error ?? new Error(stats.toString())
      })`
    await writeFile(join(project, 'webpack.mjs'), webpack)
    execFileSync(process.execPath, ['webpack.mjs'], { cwd: project, stdio: 'pipe' })
    await expectToConvert('dist/app.js')
  })

  it('by esbuild does too', async () => {
    const [command = ''] = blocksOf(guide, 'sh')
    expect(command).toMatch(/^esbuild /)
    const PATH = `${join(root, 'node_modules/.bin')}:${process.env.PATH}`
    execFileSync('bash', ['-c', command], { cwd: project, stdio: 'pipe', env: { ...process.env, PATH } })
    await expectToConvert('out/app.js')
  })
})
