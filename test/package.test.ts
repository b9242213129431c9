import { cp, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { build } from 'esbuild'
import { beforeAll, describe, expect, it } from 'vitest'
import { installPacked, type Manifest } from './support/packed-project.ts'
import { differenceOf } from './support/qemu.ts'
import { type NodeResult, root, runNode } from './support/run-node.ts'
import { tempFolder } from './support/temp-folder.ts'

const path = tempFolder()
const project = path('project')
const image = join(root, 'fixtures/real-ext4.qcow2')

beforeAll(() => installPacked(project))

/** Runs a program of the project's own, which has to end well. */
async function runProgram(name: string, text: string, ...args: string[]): Promise<string> {
  await writeFile(join(project, name), text)
  return said(await runNode([name, ...args], { cwd: project }))
}

function said({ code, stdout, stderr }: NodeResult): string {
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  return stdout.toString().trim()
}

const program = `
  const { convert } = diskferry
  const [source, target] = process.argv.slice(2)
  convert({ source, to: 'vhd', target, threads: 2 }).then(({ crc32c }) => console.log(crc32c))
`

describe('the installed package', () => {
  it('holds what it needs, and neither sources nor tests', async () => {
    const files = await readdir(join(project, 'node_modules/diskferry'))
    expect(files).toEqual(expect.arrayContaining(['LICENSE', 'README.md', 'dist', 'package.json']))
    for (const name of ['src', 'test', 'fixtures', 'bench']) expect(files).not.toContain(name)
  })

  it('converts with worker threads, imported', async () => {
    const text = `import * as diskferry from 'diskferry'\n${program}`
    expect(await runProgram('imported.js', text, image, path('imported.vhd'))).toMatch(/^[0-9a-f]{8}$/)
    expect(await differenceOf([image, 'qcow2'], [path('imported.vhd'), 'vpc'])).toBeUndefined()
  })

  it('converts with worker threads, required, where Node can', async () => {
    await writeFile(join(project, 'required.cjs'), `const diskferry = require('diskferry')\n${program}`)
    const result = await runNode(['required.cjs', image, path('required.vhd')], { cwd: project })
    if ((process.features as { require_module?: boolean }).require_module) {
      expect(result).toMatchObject({ code: 0 })
      expect(await differenceOf([image, 'qcow2'], [path('required.vhd'), 'vpc'])).toBeUndefined()
    } else {
      expect(result).toMatchObject({ code: 1, stderr: expect.stringContaining('ERR_REQUIRE_ESM') })
    }
  })

  it('has its command', async () => {
    const bin = 'node_modules/diskferry/dist/cli/main.js'
    const args = [bin, 'convert', image, path('command.vhd'), '--to', 'vhd', '--threads', '1', '-q']
    said(await runNode(args, { cwd: project }))
    expect(await differenceOf([image, 'qcow2'], [path('command.vhd'), 'vpc'])).toBeUndefined()
    expect((await readFile(join(project, bin), 'utf8')).split('\n')[0]).toBe('#!/usr/bin/env node')
  })
})

describe('importing it', () => {
  it('loads no AWS SDK, and does nothing else', async () => {
    const text = `
      import { createRequire } from 'node:module'
      const look = () => ({
        resources: process.getActiveResourcesInfo().sort(),
        listeners: process.eventNames().map(String).sort(),
        globals: Object.getOwnPropertyNames(globalThis).sort(),
        environment: { ...process.env },
        folder: process.cwd(),
      })
      for (const stream of ['stdout', 'stderr']) process[stream].writable // they are made when they are first asked for
      const before = look()
      const diskferry = await import('diskferry')
      const after = look()
      diskferry.s3Target({ client: {}, bucket: 'b', key: 'k' })
      const loaded = Object.keys(createRequire(import.meta.url).cache)
      console.log(JSON.stringify({ before, after, sdk: loaded.filter((name) => name.includes('aws-sdk')) }))
    `
    const { before, after, sdk } = JSON.parse(await runProgram('look.js', text))
    expect(sdk).toEqual([])
    expect(after).toEqual(before)
  })

  it('loads no AWS SDK by way of diskferry/s3 either, until a client is asked for', async () => {
    const text = `
      import { createRequire } from 'node:module'
      const s3 = await import('diskferry/s3')
      const { s3Target } = await import('diskferry')
      const loaded = Object.keys(createRequire(import.meta.url).cache).filter((name) => name.includes('aws-sdk'))
      console.log(loaded.length, s3.s3Target === s3Target)
    `
    expect(await runProgram('sub-path.js', text)).toBe('0 true')
  })

  it('would show the SDK, if it were loaded', async () => {
    const text = `
      import { createRequire } from 'node:module'
      import { clientFromEnvironment } from 'diskferry'
      process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = 'true'
      await clientFromEnvironment({ AWS_REGION: 'eu-north-1' })
      console.log(Object.keys(createRequire(import.meta.url).cache).some((name) => name.includes('aws-sdk')))
    `
    expect(await runProgram('show.js', text)).toBe('true')
  })

  it('needs neither the web framework nor the schemas of the service', async () => {
    const bare = path('bare')
    await cp(join(project, 'node_modules/package'), join(bare, 'node_modules/diskferry'), { recursive: true })
    await writeFile(join(bare, 'package.json'), '{ "type": "module" }')
    const { dependencies } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as Manifest
    for (const name of Object.keys(dependencies).filter((each) => !/hono|zod|pino|prom-client/.test(each))) {
      await mkdir(dirname(join(bare, 'node_modules', name)), { recursive: true })
      await symlink(join(root, 'node_modules', name), join(bare, 'node_modules', name))
    }
    said(await runNode(['--input-type=module', '-e', "await import('diskferry')"], { cwd: bare }))
    said(await runNode(['node_modules/diskferry/dist/cli/main.js', 'formats'], { cwd: bare }))
    for (const part of ['rules', 'service']) {
      const { code, stderr } = await runNode(['--input-type=module', '-e', `await import('diskferry/${part}')`], {
        cwd: bare,
      })
      expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining('ERR_MODULE_NOT_FOUND') })
    }
  })

  it('gives rules and service under paths of their own', async () => {
    const text = `
      import { checkExport } from 'diskferry/rules'
      import { createExportService, openLocalQueue } from 'diskferry/service'
      const { violations } = checkExport(undefined, { body: {}, caller: { project: 'p', roles: ['te_admin'] } })
      console.log(typeof createExportService, typeof openLocalQueue, violations.map(({ code }) => code).join())
    `
    expect(await runProgram('parts.js', text)).toBe('function function IMG.0007,IMG.0027')
  })
})

describe('a bundle', () => {
  /** What is native, finds files beside itself, or is the caller's to choose. */
  const external = ['piscina', 'fast-crc32c', '@node-rs/crc32', '@bokuweb/zstd-wasm', '@aws-sdk/*']

  async function bundle(outdir: string, entryPoints: Record<string, string>): Promise<void> {
    await writeFile(join(project, 'app.js'), `import * as diskferry from 'diskferry'\n${program}`)
    const options = { bundle: true, platform: 'node', format: 'esm', splitting: true, logLevel: 'error' } as const
    await build({ ...options, external, absWorkingDir: project, entryPoints, outdir })
  }

  it('finds the worker that is its second entry', async () => {
    await bundle('bundled', { app: 'app.js', worker: 'diskferry/worker' })
    expect(await readdir(join(project, 'bundled'))).toEqual(expect.arrayContaining(['app.js', 'worker.js']))
    said(await runNode(['bundled/app.js', image, path('bundled.vhd')], { cwd: project }))
    expect(await differenceOf([image, 'qcow2'], [path('bundled.vhd'), 'vpc'])).toBeUndefined()
  })

  it('takes the installed one where it has none', async () => {
    await bundle('alone', { app: 'app.js' })
    said(await runNode(['alone/app.js', image, path('alone.vhd')], { cwd: project }))
    expect(await differenceOf([image, 'qcow2'], [path('alone.vhd'), 'vpc'])).toBeUndefined()
  })

  it('says what is missing where there is neither', async () => {
    const elsewhere = path('elsewhere')
    await bundle(join(elsewhere, 'alone'), { app: 'app.js' })
    await mkdir(join(elsewhere, 'node_modules/@bokuweb'), { recursive: true })
    await writeFile(join(elsewhere, 'package.json'), '{ "type": "module" }')
    for (const name of ['piscina', 'fast-crc32c', '@bokuweb/zstd-wasm']) {
      await symlink(join(root, 'node_modules', name), join(elsewhere, 'node_modules', name))
    }
    const { code, stderr } = await runNode(['alone/app.js', image, path('nowhere.vhd')], { cwd: elsewhere })
    expect({ code, stderr }).toMatchObject({ code: 1, stderr: expect.stringContaining('worker.js') })
    expect(stderr).toContain('diskferry/worker as a second entry')
  })
})

describe("the package's types", () => {
  const consumer = `
    import { convert, convertToStream, DiskferryError, inspect, isDiskferryError, s3Target, type Progress } from 'diskferry'
    import type { S3Client } from '@aws-sdk/client-s3'

    declare const client: S3Client
    const onProgress = ({ phase, done, total }: Progress): void => void [phase satisfies string, done / total]

    export async function use(): Promise<string> {
      const target = s3Target({ client, bucket: 'b', key: 'k', parameters: { ContentType: 'application/x-vhd' } })
      const result = await convert({ source: 'a.qcow2', to: 'vhd', options: { subformat: 'fixed' }, target, onProgress })
      const parts: number | undefined = result.parts
      // @ts-expect-error qcow2 has no such option: types are there, and are not any
      await convert({ source: 'a.vhd', to: 'qcow2', options: { subformat: 'fixed' }, target })
      // @ts-expect-error nothing of this name can be written
      await convert({ source: 'a.vhd', to: 'zip', target })
      // @ts-expect-error it is a number
      const size: string = (await inspect('a.vhd')).virtualSize
      const { stream } = await convertToStream({ source: new Uint8Array(512), to: 'raw' })
      stream.pipe(process.stdout)
      const error: unknown = new DiskferryError('usage', 'x')
      return isDiskferryError(error, 'target-failed') ? error.code satisfies 'target-failed' | string : String([parts, size])
    }
  `

  it.each([
    ['nodenext', 'nodenext'],
    ['esnext', 'bundler'],
  ])('are found with module %s and moduleResolution %s', async (module, moduleResolution) => {
    await writeFile(join(project, 'consumer.ts'), consumer)
    const options = {
      module,
      moduleResolution,
      target: 'es2022',
      strict: true,
      noEmit: true,
      types: ['node'],
      skipLibCheck: true,
    }
    await writeFile(
      join(project, 'tsconfig.json'),
      JSON.stringify({ compilerOptions: options, files: ['consumer.ts'] }),
    )
    const args = [join(root, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.json']
    const { code, stdout } = await runNode(args, { cwd: project })
    expect({ code, stdout: stdout.toString() }).toEqual({ code: 0, stdout: '' })
  })
})

describe('the project', () => {
  it('keeps formats apart, the SDK in its folder and piscina behind the pool', async () => {
    const wrong: string[] = []
    for (const file of await sourcesIn(join(root, 'src'))) {
      const name = file.slice(root.length)
      const [, format] = /^src\/formats\/(\w+)\//.exec(name) ?? []
      for (const specifier of await importsOf(file)) {
        const [, other] = /\/src\/formats\/(\w+)\//.exec(join(dirname(file), specifier)) ?? []
        if (specifier.startsWith('.') && format !== undefined && other !== undefined && other !== format) {
          wrong.push(`${name} imports ${specifier}`)
        }
        if (specifier.startsWith('@aws-sdk/') && !name.startsWith('src/io/s3/'))
          wrong.push(`${name} imports ${specifier}`)
        if (specifier === 'piscina' && name !== 'src/pipeline/workers.ts') wrong.push(`${name} imports ${specifier}`)
      }
    }
    expect(wrong).toEqual([])
  })

  it('lets one folder import the other in one direction only', async () => {
    const order = ['bytes', 'io', 'formats', 'rules', 'pipeline', 'cli']
    const wrong: string[] = []
    for (const [rank, folder] of order.entries()) {
      for (const file of await sourcesIn(join(root, 'src', folder))) {
        for (const specifier of (await importsOf(file)).filter((name) => name.startsWith('.'))) {
          const [, other = ''] = /\/src\/([a-z]+)\//.exec(join(dirname(file), specifier)) ?? []
          if (order.indexOf(other) > rank) wrong.push(`${file.slice(root.length)} imports ${specifier}`)
        }
      }
    }
    expect(wrong).toEqual([])
  })
})

async function importsOf(file: string): Promise<string[]> {
  const text = await readFile(file, 'utf8')
  return [...text.matchAll(/(?:from|import\() ?'([^']+)'/g)].map(([, specifier = '']) => specifier)
}

async function sourcesIn(folder: string): Promise<string[]> {
  const names = await readdir(folder, { recursive: true })
  return names.filter((name) => name.endsWith('.ts')).map((name) => join(folder, name))
}
