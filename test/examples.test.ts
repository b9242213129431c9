import { type ChildProcess, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { copyFile, cp, mkdir, readdir, readFile, utimes, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { addImage } from './support/image-folder.ts'
import { installPacked } from './support/packed-project.ts'
import { createImage, differenceOf, qemuIo } from './support/qemu.ts'
import { freePort, startRedis } from './support/redis-server.ts'
import { type NodeResult, root, runNode } from './support/run-node.ts'
import { testBucket } from './support/s3-bucket.ts'
import { tempFolder } from './support/temp-folder.ts'
import { runTool } from './support/tools.ts'

const MiB = 2 ** 20
const path = tempFolder()
const examples = path('examples')
const image = join(root, 'fixtures/real-ext4.qcow2')
const bucket = testBucket()

beforeAll(async () => {
  await cp(join(root, 'examples'), examples, { recursive: true })
  await installPacked(path(''), ['fastify', 'hono', '@hono/node-server', 'bullmq', 'ioredis'])
  await mkdir(path('disks'))
  await copyFile(image, path('disks/real.qcow2'))
})

async function run(example: string, args: readonly string[], env: Record<string, string> = {}): Promise<NodeResult> {
  return runNode(args, { cwd: join(examples, example), env })
}

function said({ code, stdout, stderr }: NodeResult): string {
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' })
  return stdout.toString().trim()
}

describe('the examples', () => {
  it('are packages that name what they use', async () => {
    const { version, dependencies, devDependencies, peerDependencies } = JSON.parse(
      await readFile(join(root, 'package.json'), 'utf8'),
    )
    const installed: Record<string, string> = { ...devDependencies, ...dependencies, diskferry: version }
    const folders = (await readdir(examples, { withFileTypes: true })).filter((entry) => entry.isDirectory())
    expect(folders.length).toBeGreaterThanOrEqual(5)
    for (const { name } of folders) {
      const manifest = JSON.parse(await readFile(join(examples, name, 'package.json'), 'utf8'))
      const needed: Record<string, string> = manifest.dependencies
      const programs = (await readdir(join(examples, name))).filter((file) => file.endsWith('.mjs'))
      const texts = await Promise.all(programs.map((file) => readFile(join(examples, name, file), 'utf8')))
      const imported = texts.flatMap((text) =>
        [...text.matchAll(/ from '([^.:']+)'/g)].map(([, specifier = '']) => specifier),
      )
      const packages = imported.map((specifier) =>
        specifier
          .split('/')
          .slice(0, specifier.startsWith('@') ? 2 : 1)
          .join('/'),
      )
      // A peer of diskferry's own is loaded by that alone.
      const named = Object.keys(needed).filter((dependency) => !Object.hasOwn(peerDependencies, dependency))
      expect([...new Set(packages)].sort()).toEqual(named.sort())
      for (const [dependency, range] of Object.entries(needed)) {
        expect(`${dependency} ^${installed[dependency]?.split('.')[0]}`).toBe(`${dependency} ${range.split('.')[0]}`)
      }
    }
  })
})

describe('custom-source', () => {
  it('converts what lies behind a URL, and tries again', async () => {
    const bytes = await readFile(image)
    let refused = 0
    const server = createServer(({ headers, method }, response) => {
      const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? '') ?? []
      if (method === 'HEAD') response.setHeader('ETag', '"1"').setHeader('Content-Length', bytes.length).end()
      else if (headers['if-match'] !== '"1"' || refused++ === 3) response.writeHead(503).end()
      else response.writeHead(206).end(bytes.subarray(Number(first), Number(last) + 1))
    })
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
    expect(said(await run('custom-source', ['main.mjs', url, path('from-url.qcow2')]))).toMatch(/CRC-32C [0-9a-f]{8}$/)
    server.close()
    expect(refused).toBeGreaterThan(3)
    expect(await differenceOf([image, 'qcow2'], [path('from-url.qcow2'), 'qcow2'])).toBeUndefined()
  })
})

describe('nbd-source', () => {
  it('converts the disk that qemu-nbd serves', async () => {
    const socket = path('nbd')
    // It ends when its client has gone.
    await runTool('qemu-nbd', ['--fork', '--read-only', '--format=qcow2', `--socket=${socket}`, image])
    const uri = `nbd+unix:///?socket=${socket}`
    expect(said(await run('nbd-source', ['main.mjs', uri, path('from-nbd.qcow2')]))).toMatch(/CRC-32C [0-9a-f]{8}$/)
    expect(await differenceOf([image, 'qcow2'], [path('from-nbd.qcow2'), 'qcow2'])).toBeUndefined()
  })

  it('is told of an export that there is not', async () => {
    const port = String(await freePort())
    const args = ['--foreground', '--ipaddr=127.0.0.1', `--port=${port}`, 'memory', '1M']
    const server = spawn('nbdkit', ['--filter=exportname', ...args, 'exportname=there', 'exportname-strict=true'])
    try {
      const ask = () => run('nbd-source', ['main.mjs', `nbd://127.0.0.1:${port}/gone`, path('gone.qcow2')])
      await expect.poll(async () => (await ask()).stderr, { timeout: 30_000 }).toContain('refuses the export "gone"')
    } finally {
      server.kill()
    }
  })
})

interface Started {
  /** The first line that it says. */
  readonly line: string
  readonly child: ChildProcess
}

async function startProgram(example: string, program: string, more: Record<string, string> = {}): Promise<Started> {
  const env = { ...process.env, NODE_OPTIONS: '', DISKS: path('disks'), PORT: '0', ...more }
  const child = spawn(process.execPath, [program], {
    cwd: join(examples, example),
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [line] = (await once(child.stdout as NodeJS.ReadableStream, 'data')) as [Buffer]
  return { line: line.toString().trim(), child }
}

async function terminate({ child }: Started): Promise<void> {
  child.kill('SIGTERM')
  expect(await once(child, 'exit')).toEqual([0, null])
}

describe('fleet', () => {
  it('exports in a worker what was handed in at the front', async () => {
    const redis = await startRedis()
    const sha256 = createHash('sha256').update('a-token').digest('hex')
    await writeFile(path('tokens.json'), JSON.stringify([{ sha256, project: 'p1', roles: ['te_admin'] }]))
    await addImage(path('images'), 'real', image)
    const env = { ...bucket.environment(), REDIS: redis.url, IMAGES: path('images'), TOKENS: path('tokens.json') }
    const [front, worker] = await Promise.all([
      startProgram('fleet', 'front.mjs', env),
      startProgram('fleet', 'worker.mjs', env),
    ])
    try {
      const headers = { 'X-Auth-Token': 'a-token' }
      const body = JSON.stringify({ bucket_url: `${bucket.name}:real.vhd`, file_format: 'vhd' })
      const answer = await fetch(`${front.line}/v1/cloudimages/real/file`, { method: 'POST', headers, body })
      const { job_id } = (await answer.json()) as { job_id: string }
      const status = async () =>
        ((await (await fetch(`${front.line}/v1/p1/jobs/${job_id}`, { headers })).json()) as { status: string }).status
      await expect.poll(status, { timeout: 60_000 }).toBe('SUCCESS')
      await writeFile(path('fleet.vhd'), await bucket.get('real.vhd'))
      expect(await differenceOf([image, 'qcow2'], [path('fleet.vhd'), 'vpc'])).toBeUndefined()
      await Promise.all([terminate(front), terminate(worker)])
    } finally {
      for (const { child } of [front, worker]) child.kill('SIGKILL')
      await redis.stop()
    }
  })
})

describe.each(['fastify-download', 'hono-handler'])('%s', (example) => {
  it('gives a disk as another format, with its size, and says what it can not', async () => {
    const started = await startProgram(example, 'server.mjs')
    const address = started.line
    try {
      const response = await fetch(`${address}/disks/real.qcow2?as=vhd`)
      const bytes = Buffer.from(await response.arrayBuffer())
      expect(response.headers.get('content-length')).toBe(String(bytes.length))
      await writeFile(path('downloaded.vhd'), bytes)
      expect(await differenceOf([image, 'qcow2'], [path('downloaded.vhd'), 'vpc'])).toBeUndefined()
      expect((await fetch(`${address}/disks/real.qcow2?as=zip`)).status).toBe(400)
      expect((await fetch(`${address}/disks/nothing?as=raw`)).status).toBeGreaterThanOrEqual(404)
      expect((await fetch(`${address}/disks/..%2F..%2Fetc%2Fpasswd?as=raw`)).status).toBeGreaterThanOrEqual(404)
    } finally {
      await terminate(started)
    }
  })
})

describe('backup', () => {
  it('goes on where it was, and takes up what has changed', async () => {
    await createImage(path('disks/b.qcow2'), 'qcow2', 4 * MiB)
    const backup = () =>
      run('backup', ['backup.mjs', path('disks'), `s3://${bucket.name}/nightly`], bucket.environment())
    expect(said(await backup())).toMatch(/^b\.qcow2: \d+ bytes.*\nreal\.qcow2: \d+ bytes/)
    await utimes(path('disks/b.qcow2'), 1, 1)
    expect(said(await backup())).toMatch(/^b\.qcow2: \d+ bytes.*\nreal\.qcow2: is there$/)
    await writeFile(path('backup.vmdk'), await bucket.get('nightly/real.qcow2.vmdk'))
    expect(await differenceOf([image, 'qcow2'], [path('backup.vmdk'), 'vmdk'])).toBeUndefined()
  })

  it('ends with 1 where one failed, after the others', async () => {
    await mkdir(path('broken'))
    await writeFile(path('broken/a.qcow2'), (await readFile(image)).subarray(0, 70_000))
    await copyFile(image, path('broken/z.qcow2'))
    const { code, stdout, stderr } = await run(
      'backup',
      ['backup.mjs', path('broken'), `s3://${bucket.name}/x`],
      bucket.environment(),
    )
    expect({ code, stderr }).toMatchObject({ code: 1, stderr: expect.stringContaining('a.qcow2: ') })
    expect(stdout.toString()).toMatch(/^z\.qcow2: \d+ bytes/)
  })
})

describe('small-function', () => {
  it('puts a disk of 100 GiB into a bucket with 512 MiB', async () => {
    await createImage(path('large.qcow2'), 'qcow2', 100 * 2 ** 30)
    await qemuIo(path('large.qcow2'), 'qcow2', ['write -P 7 50g 24m', 'write -P 8 0 8m'])
    const call = `
      import { handler } from './handler.mjs'
      const event = { source: ${JSON.stringify(path('large.qcow2'))}, bucket: 'exports', key: 'large.vhd' }
      console.log(JSON.stringify(await handler(event, { getRemainingTimeInMillis: () => 110_000 })))
      process.exit()`
    await writeFile(join(examples, 'small-function/call.mjs'), call)
    const result = await runNode(['--max-old-space-size=256', 'call.mjs'], {
      cwd: join(examples, 'small-function'),
      env: bucket.environment(),
      timeoutMs: 110_000,
    })
    expect(JSON.parse(said(result)).bytesWritten).toBeGreaterThan(32 * MiB)
    expect(result.maxRss).toBeLessThan(512 * MiB)
    await writeFile(path('large.vhd'), await bucket.get('large.vhd'))
    expect(await differenceOf([path('large.qcow2'), 'qcow2'], [path('large.vhd'), 'vpc'])).toBeUndefined()
  })
})
