import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { copyFile, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { transform } from 'esbuild'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { blocksOf, page } from './support/markdown.ts'
import { differenceOf } from './support/qemu.ts'
import { root, runCli, runNode } from './support/run-node.ts'
import { testBucket } from './support/s3-bucket.ts'
import { tempFolder } from './support/temp-folder.ts'

const readme = page('README.md')
const path = tempFolder()
const image = join(root, 'fixtures/real-ext4.qcow2')

describe('README.md', () => {
  it('answers what is asked of a project, in this order', () => {
    const headings = [...readme.text.matchAll(/^## (.+)$/gm)].map(([, heading]) => heading)
    expect(headings).toEqual([
      'See it work',
      'Use it in your service',
      'Formats',
      'Why it is fast',
      'How it compares',
      'Guarantees',
      'Limits',
      'Tests',
    ])
  })

  it('shows a demo that works', async () => {
    expect(blocksOf(readme, 'sh')[0]).toBe('npm ci && npm run demo\n')
    const { stdout } = await promisify(execFile)('npm', ['run', '--silent', 'demo'], { cwd: root })
    expect(stdout).toMatch(/^result +equal/m)
  })

  it('shows what the commands print', async () => {
    const [, map = ''] = blocksOf(readme, 'console')
    const [line = '', ...printed] = map.trimEnd().split('\n')
    const { code, stdout } = await runCli(line.replace('$ diskferry ', '').split(' '))
    expect({ code, stdout: stdout.toString().trimEnd() }).toEqual({ code: 0, stdout: printed.join('\n') })
  })

  it('has other commands install and start what is there', async () => {
    const [, install, tests = ''] = blocksOf(readme, 'sh')
    const { name, dependencies } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
    expect(install).toBe(`npm install ${name} @aws-sdk/client-s3\n`)
    expect(dependencies).toHaveProperty('@aws-sdk/client-s3')
    expect(tests).toMatch(/^bash \.ci\/run +#.*\nnpm test +#.*\n$/)
    expect((await stat(join(root, '.ci/run'))).mode & 0o111).not.toBe(0)
  })
})

describe("README.md's programs", () => {
  const bucket = testBucket()
  const programs = blocksOf(readme, 'ts')
  let folder: string

  beforeAll(async () => {
    // Inside the package, so that its own name leads to it.
    await mkdir(join(root, '.cache'), { recursive: true })
    folder = await mkdtemp(join(root, '.cache/readme-'))
    for (const [index, text] of programs.entries()) {
      const { code } = await transform(text, { loader: 'ts', format: 'esm' })
      await writeFile(join(folder, `program${index}.mjs`), code)
    }
  })
  afterAll(() => rm(folder, { recursive: true, force: true }))

  /** Runs `text` in a folder of its own, with one of the programs as `program`. */
  async function run(index: number, text: string, env: Record<string, string> = {}): Promise<string> {
    const driver = join(folder, `driver${index}.mjs`)
    await writeFile(driver, `import * as program from './program${index}.mjs'\n${text}`)
    const { code, stdout, stderr } = await runNode([driver], { cwd: path(''), env })
    expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' })
    return stdout.toString().trim()
  }

  it('export into a bucket', async () => {
    expect(programs).toHaveLength(3)
    const text = `
      import { clientFromEnvironment } from 'diskferry/s3'
      const job = { source: ${JSON.stringify(image)}, key: 'disk.vhd', signal: new AbortController().signal }
      const phases = new Set()
      const client = await clientFromEnvironment()
      const { location, crc32c } = await program.exportDisk(client, { ...job, onProgress: ({ phase }) => phases.add(phase) })
      console.log(location, crc32c.length, phases.size)
      process.exit()`
    expect(await run(0, text, bucket.environment())).toMatch(/exports\/disk\.vhd 8 3$/)
    await writeFile(path('exported.vhd'), await bucket.get('disk.vhd'))
    expect(await differenceOf([image, 'qcow2'], [path('exported.vhd'), 'vpc'])).toBeUndefined()
  })

  it('serve a download, with its size', async () => {
    await copyFile(image, path('disk.qcow2'))
    const text = `
      import { once } from 'node:events'
      import { writeFileSync } from 'node:fs'
      await once(program.server.listen(0, '127.0.0.1'), 'listening')
      const response = await fetch('http://127.0.0.1:' + program.server.address().port)
      const bytes = Buffer.from(await response.arrayBuffer())
      writeFileSync('served.raw', bytes)
      console.error(response.headers.get('content-length') === String(bytes.length))
      program.server.close()`
    expect(await run(1, text)).toMatch(/^[0-9a-f]{8}$/)
    expect(await differenceOf([image, 'qcow2'], [path('served.raw'), 'raw'])).toBeUndefined()
  })

  it('convert what is read over HTTP', async () => {
    const bytes = await readFile(image)
    const server = await rangeServer(bytes)
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/disk.qcow2`
    await run(2, `await program.convertOverHttp(${JSON.stringify(url)})`)
    server.close()
    expect(await differenceOf([image, 'qcow2'], [path('disk.qcow2'), 'qcow2'])).toBeUndefined()
    expect((await readFile(path('disk.qcow2'))).equals(bytes)).toBe(false)
  })
})

/** Answers each range that is asked for. */
async function rangeServer(bytes: Buffer): Promise<Server> {
  const server = createServer(({ headers }, response) => {
    const [, first = 0, last = bytes.length] = /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? '') ?? []
    const end = Math.min(Number(last) + 1, bytes.length)
    response.setHeader('Content-Range', `bytes ${first}-${end - 1}/${bytes.length}`).setHeader('ETag', '"1"')
    response.writeHead(206).end(bytes.subarray(Number(first), end))
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return server
}
