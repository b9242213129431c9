import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { root, runNode } from './support/run-node.ts'
import { tempFolder } from './support/temp-folder.ts'
import { runTool } from './support/tools.ts'

interface Locked {
  readonly version: string
  readonly license?: string
  readonly integrity?: string
  readonly dev?: boolean
  readonly optional?: boolean
  readonly hasInstallScript?: boolean
}

interface Manifest {
  readonly dependencies: Readonly<Record<string, string>>
  readonly optionalDependencies: Readonly<Record<string, string>>
}

const path = tempFolder()
const read = (name: string) => readFileSync(join(root, name), 'utf8')
const manifest = JSON.parse(read('package.json')) as Manifest
const direct = { ...manifest.dependencies, ...manifest.optionalDependencies }
const lock = (JSON.parse(read('package-lock.json')) as { packages: Readonly<Record<string, Locked>> }).packages
/** What is installed with the package, by its place. */
const production = Object.entries(lock).filter(([place, { dev }]) => place !== '' && !dev)
const LICENCES = ['MIT', 'Apache-2.0', 'BSD-2-Clause', 'BSD-3-Clause', '0BSD', 'ISC']

const nameOf = (place: string) => place.slice(place.lastIndexOf('node_modules/') + 'node_modules/'.length)

describe('what is installed with the package', () => {
  it('is found', () => {
    expect(production.length).toBeGreaterThan(Object.keys(direct).length)
  })

  it('is under licences that permit every use', () => {
    const others = production.filter(([, { license = 'none' }]) => !LICENCES.includes(license))
    expect(others.map(([place, { license }]) => `${nameOf(place)}: ${license}`)).toEqual([])
  })

  it('is locked to one content each', () => {
    const loose = production.filter(([, { integrity = '' }]) => !integrity.startsWith('sha512-'))
    expect(loose.map(([place]) => place)).toEqual([])
    expect(Object.values(direct).filter((version) => !/^\d+\.\d+\.\d+$/.test(version))).toEqual([])
  })

  it('runs no script at its installation, but for one that may fail', () => {
    const scripts = production.filter(([, { hasInstallScript }]) => hasInstallScript)
    expect(scripts.map(([place, { optional }]) => [nameOf(place), optional])).toEqual([['sse4_crc32', true]])
  })

  it('is explained, with its licence, and nothing else is', () => {
    const rows = [...read('docs/dependencies.md').matchAll(/^\| `([^`]+)` \| (\S+) \| (\d{4}) \| \S/gm)]
    const licences = Object.keys(direct).map((name) => [name, lock[`node_modules/${name}`]?.license])
    expect(rows.map(([, name, licence]) => [name, licence]).sort()).toEqual(licences.sort())
  })

  it('is all in the bill of materials', async () => {
    const { stdout } = await runTool('npm', ['run', '--silent', 'sbom'], { cwd: root })
    const { bomFormat, components } = JSON.parse(stdout) as { bomFormat: string; components: { purl: string }[] }
    expect(bomFormat).toBe('CycloneDX')
    const listed = new Set(components.map(({ purl }) => decodeURIComponent(purl).replace('pkg:npm/', '')))
    expect(
      production.map(([place, { version }]) => `${nameOf(place)}@${version}`).filter((one) => !listed.has(one)),
    ).toEqual([])
  })
})

/** Takes packages away, as an installation without scripts or without optional packages would. */
const WITHOUT = `data:text/javascript,${encodeURIComponent(`
  import Module from 'node:module'
  const resolve = Module._resolveFilename
  Module._resolveFilename = function (name, ...rest) {
    if (process.env.WITHOUT.split(' ').includes(name)) throw Object.assign(new Error(name), { code: 'MODULE_NOT_FOUND' })
    return resolve.call(this, name, ...rest)
  }
`)}`

const CONVERT = `
  import { pathToFileURL } from 'node:url'
  const [library, source, target] = process.argv.slice(2)
  const { convert, crc32cBackend } = await import(pathToFileURL(library))
  const { crc32c } = await convert({ source, to: 'vhd', target, threads: 0 })
  console.log(JSON.stringify([crc32cBackend, crc32c]))
`

describe('checksums', () => {
  const backends = [
    { without: 'sse4_crc32', backend: '@node-rs/crc32' },
    { without: 'sse4_crc32 @node-rs/crc32', backend: 'fast-crc32c (JavaScript)' },
  ]

  it.each(backends)('are the same without $without, by $backend', async ({ without, backend }) => {
    await writeFile(path('convert.mjs'), CONVERT)
    const image = join(root, 'fixtures/qcow2-v3.qcow2')
    const recorded = JSON.parse(read('fixtures/manifest.json'))['qcow2-v3.qcow2'].outputs.vhd
    const args = ['--import', WITHOUT, path('convert.mjs'), join(root, 'dist/index.js'), image, path('disk.vhd')]
    const { code, stdout, stderr } = await runNode(args, { env: { WITHOUT: without } })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(JSON.parse(stdout.toString())).toEqual([backend, recorded])
  })
})
