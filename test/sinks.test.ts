import { execFileSync, spawn } from 'node:child_process'
import { chmodSync, createReadStream, mkdirSync, rmSync } from 'node:fs'
import { open, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { buffer } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { convert, fileTarget, type Receipt, type SinkJob, s3Target } from '../src/index.ts'
import { readableTarget } from '../src/io/readable-target.ts'
import { abandonSink, feedSink } from './support/feed-sink.ts'
import { noise } from './support/pattern.ts'
import { root, runCli, runNode } from './support/run-node.ts'
import { testBucket } from './support/s3-bucket.ts'
import { tempFolder } from './support/temp-folder.ts'

const MiB = 2 ** 20
const path = tempFolder()
const bucket = testBucket()
const reason = new Error('enough')

/** A place that an image goes to, of one kind. */
interface Kind {
  readonly name: string
  /** Where the receipt says it is. */
  readonly location: string | RegExp
  deliver(bytes: Buffer, job: SinkJob): Promise<{ receipt: Receipt; received: Buffer }>
  /** Aborts after `until` bytes. Gives what is left and should not be. */
  abandon(bytes: Buffer, until: number): Promise<string[]>
}

const file: Kind = {
  name: 'a file',
  location: path('files/image'),
  async deliver(bytes, job) {
    const sink = await fileTarget(path('files/image'), { sync: true }).open(job)
    const receipt = await sink.finish(await feedSink(sink, bytes))
    return { receipt, received: await readFile(path('files/image')) }
  },
  async abandon(bytes, until) {
    const sink = await fileTarget(path('files/abandoned')).open(exactly(bytes))
    await abandonSink(sink, bytes, until, reason)
    return (await readdir(path('files'))).filter((name) => name !== 'image')
  },
}

const fifo: Kind = {
  name: 'a FIFO',
  location: path('fifo'),
  async deliver(bytes, job) {
    const reading = buffer(createReadStream(path('fifo')))
    const sink = await fileTarget(path('fifo')).open(job)
    const receipt = await sink.finish(await feedSink(sink, bytes))
    return { receipt, received: await reading }
  },
  async abandon(bytes, until) {
    const reading = buffer(createReadStream(path('fifo')))
    const sink = await fileTarget(path('fifo')).open(exactly(bytes))
    await abandonSink(sink, bytes, until, reason)
    return (await reading).equals(bytes.subarray(0, until)) ? [] : ['other bytes than were written']
  },
}

const stdout: Kind = {
  name: 'standard output',
  location: 'standard output',
  async deliver(bytes) {
    await writeFile(path('stdout'), bytes)
    const { code, stdout, stderr } = await runScript('stdout-sink.ts', path('stdout'))
    expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' })
    return { receipt: JSON.parse(stderr) as Receipt, received: stdout }
  },
  async abandon(bytes, until) {
    await writeFile(path('stdout'), bytes)
    const { code, stdout } = await runScript('stdout-sink.ts', path('stdout'), String(until))
    expect(code).toBe(0)
    return stdout.equals(bytes.subarray(0, until)) ? [] : ['other bytes than were written']
  },
}

const readable: Kind = {
  name: 'a stream',
  location: /^stream of \d+ bytes$/,
  async deliver(bytes, job) {
    const target = readableTarget(() => undefined)
    const reading = buffer(target.stream)
    const sink = await target.open(job)
    const receipt = await sink.finish(await feedSink(sink, bytes))
    return { receipt, received: await reading }
  },
  async abandon(bytes, until) {
    const target = readableTarget(() => undefined)
    const reading = buffer(target.stream).then(
      () => 'a stream that ended',
      (error: unknown) => error,
    )
    const sink = await target.open(exactly(bytes))
    await abandonSink(sink, bytes, until, reason)
    const end = await reading
    return end === reason && target.stream.destroyed ? [] : [String(end)]
  },
}

const s3: Kind = {
  name: 'S3',
  location: 's3://exports/image',
  async deliver(bytes, job) {
    const sink = await s3Target({ client: bucket.client, bucket: 'exports', key: 'image', overwrite: true }).open(job)
    const receipt = await sink.finish(await feedSink(sink, bytes))
    return { receipt, received: await bucket.get('image') }
  },
  async abandon(bytes, until) {
    const sink = await s3Target({ client: bucket.client, bucket: 'exports', key: 'abandoned' }).open(exactly(bytes))
    await abandonSink(sink, bytes, until, reason)
    return [...(await bucket.keys()).filter((key) => key !== 'image'), ...(await bucket.openUploads())]
  },
}

const exactly = ({ length }: Buffer): SinkJob => ({ size: length, sizeAtMost: length })
const atMost = ({ length }: Buffer): SinkJob => ({ size: undefined, sizeAtMost: length + 5 * MiB })

function runScript(script: string, ...args: string[]) {
  return runNode(['--import', './scripts/typescript.mjs', `test/support/${script}`, ...args])
}

beforeAll(() => {
  mkdirSync(path('files'))
  execFileSync('mkfifo', [path('fifo')])
})

describe.each([file, fifo, stdout, readable, s3])('$name', (kind) => {
  const sizes = [0, 1, 513, 3 * MiB + 7, 5 * MiB, 12 * MiB + 511]

  it.each(sizes)('has %i bytes as they were handed over, and says where', async (size) => {
    const bytes = noise(size + 1, size)
    const { receipt, received } = await kind.deliver(bytes, exactly(bytes))
    expect(received.length).toBe(size)
    expect(received.equals(bytes)).toBe(true)
    expect(receipt.location).toMatch(kind.location)
  })

  it.each(sizes)('has %i bytes, of which only a bound was known before', async (size) => {
    const bytes = noise(size + 2, size)
    const { received } = await kind.deliver(bytes, atMost(bytes))
    expect(received.length).toBe(size)
    expect(received.equals(bytes)).toBe(true)
  })

  it.each([0, 70_002, 6 * MiB, 12 * MiB])('keeps nothing when it is aborted after %i bytes', async (until) => {
    expect(await kind.abandon(noise(4, 12 * MiB), until)).toEqual([])
  })
})

describe('a file', () => {
  const source = noise(6, 3 * MiB)
  const write = (target: string, bytes = source) =>
    convert({ source: bytes, from: 'raw', to: 'raw', target, threads: 0 })

  it('replaces one of its name only when it is whole', async () => {
    const target = path('replaced')
    await writeFile(target, 'before')
    const reader = await open(target, 'r')
    const seen: string[] = []
    const reading = {
      size: source.length,
      async read(offset: number, length: number) {
        seen.push(await readFile(target, 'utf8'))
        return source.subarray(offset, offset + length)
      },
    }
    await convert({ source: reading, from: 'raw', to: 'raw', target, threads: 0 })
    expect(new Set(seen)).toEqual(new Set(['before']))
    expect((await readFile(target)).equals(source)).toBe(true)
    expect(await reader.readFile('utf8')).toBe('before')
    await reader.close()
  })

  it('leaves the one of its name alone when the conversion fails', async () => {
    await writeFile(path('files/kept'), 'before')
    const failing = {
      size: 8 * MiB,
      read(offset: number, length: number) {
        if (offset >= 4 * MiB) throw reason
        return Buffer.alloc(length, 1)
      },
    }
    const converting = convert({ source: failing, from: 'raw', to: 'raw', target: path('files/kept'), threads: 0 })
    await expect(converting).rejects.toBe(reason)
    expect(await readFile(path('files/kept'), 'utf8')).toBe('before')
    expect((await readdir(path('files'))).sort()).toEqual(['image', 'kept'])
  })

  it('may be read by whom the umask lets, as any new file', async () => {
    await writeFile(path('ordinary'), '')
    await write(path('mode'))
    expect((await stat(path('mode'))).mode).toBe((await stat(path('ordinary'))).mode)
  })

  it('keeps the mode of the one that it replaces', async () => {
    await writeFile(path('private'), 'before')
    chmodSync(path('private'), 0o600)
    await write(path('private'))
    expect((await stat(path('private'))).mode & 0o777).toBe(0o600)
  })

  it('goes where a symbolic link of its name leads', async () => {
    mkdirSync(path('elsewhere'))
    await writeFile(path('elsewhere/image'), 'before')
    await symlink(path('elsewhere/image'), path('link'))
    await write(path('link'))
    expect((await readFile(path('elsewhere/image'))).equals(source)).toBe(true)
    expect(await readdir(path('elsewhere'))).toEqual(['image'])
  })

  it('may have the longest name that there is', async () => {
    const name = 'n'.repeat(255)
    await write(path(name))
    expect((await readFile(path(name))).equals(source)).toBe(true)
  })

  it('has holes where the disk has zeros', async () => {
    const sparse = Buffer.alloc(24 * MiB)
    sparse.write('island', 13 * MiB)
    const holes = await stat(
      (await convert({ source: sparse, from: 'raw', to: 'qcow2', target: path('q'), threads: 0 })).location,
    )
    expect(holes.blocks * 512).toBeLessThan(MiB)
  })

  it('names the folder that is missing', async () => {
    await expect(write(path('nowhere/image'))).rejects.toMatchObject({
      code: 'target-failed',
      found: 'ENOENT',
      hint: expect.stringContaining('folder'),
    })
  })

  it('is not written over a folder, nor over the source', async () => {
    await expect(write(path('files'))).rejects.toMatchObject({ code: 'usage' })
    await writeFile(path('source.raw'), source)
    const onto = convert({ source: path('source.raw'), to: 'vhd', target: path('source.raw'), threads: 0 })
    await expect(onto).rejects.toMatchObject({ code: 'usage' })
    expect((await readFile(path('source.raw'))).equals(source)).toBe(true)
  })

  it('says when it is too large for its file system or the limits', async () => {
    await writeFile(path('limited.raw'), source)
    const command = `ulimit -f 1024; exec "$0" dist/cli/main.js convert "$1" "$2" --to raw -q`
    const { code, stderr } = await runShell(command, path('limited.raw'), path('files/limited'))
    expect({ code, stderr }).toMatchObject({ code: 5, stderr: expect.stringContaining('EFBIG') })
    expect(await readdir(path('files'))).not.toContain('limited')
  })
})

describe('a device', () => {
  it('takes what it is given, and says when it can not', async () => {
    const source = noise(6, 3 * MiB)
    const into = (target: string) => convert({ source, from: 'raw', to: 'raw', target, threads: 0 })
    expect(await into('/dev/null')).toMatchObject({ location: '/dev/null', bytesWritten: 3 * MiB })
    await expect(into('/dev/full')).rejects.toMatchObject({ code: 'target-failed', found: 'ENOSPC' })
  })
})

describe.runIf(process.getuid?.() === 0)('a full disk', () => {
  const full = path('full')

  beforeAll(() => {
    mkdirSync(full)
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'diskferry-test', full])
  })
  afterAll(() => {
    execFileSync('umount', [full])
    rmSync(full, { recursive: true })
  })

  it.each([
    ['raw', 0],
    ['vhd', 2],
    ['zvhd2', 2],
  ] as const)('ends a conversion to %s with %i threads, and nothing is left', async (to, threads) => {
    const source = path('source-for-full.raw')
    await writeFile(source, noise(2, 8 * MiB))
    const converting = convert({ source, to, target: `${full}/image`, threads })
    await expect(converting).rejects.toMatchObject({
      code: 'target-failed',
      found: 'ENOSPC',
      hint: expect.stringContaining('free some space'),
    })
    expect(await readdir(full)).toEqual([])
  })
})

describe('standard output', () => {
  it('that nobody reads any more ends the conversion with its own exit code', async () => {
    await writeFile(path('piped.raw'), noise(3, 8 * MiB))
    const command = '"$0" dist/cli/main.js convert "$1" - --to raw -q | head -c 1000 >/dev/null; exit $PIPESTATUS'
    const { code, stderr } = await runShell(command, path('piped.raw'))
    expect({ code, stderr }).toMatchObject({ code: 5, stderr: expect.stringContaining('EPIPE') })
    expect(stderr).toContain('the reader went away')
  })

  it('that is slow is waited for', async () => {
    const bytes = noise(5, 4 * MiB)
    await writeFile(path('slow.raw'), bytes)
    const { stdout } = await runCli(['convert', path('slow.raw'), '-', '--to', 'raw', '-q'])
    expect(stdout.equals(bytes)).toBe(true)
  })
})

describe('a stream', () => {
  it('that is destroyed tells the conversion', async () => {
    let told = false
    const target = readableTarget(() => {
      told = true
    })
    const sink = await target.open({ size: 2 * MiB, sizeAtMost: 2 * MiB })
    target.stream.destroy()
    await expect(feedSink(sink, noise(1, 2 * MiB))).rejects.toMatchObject({ code: 'target-failed' })
    expect(told).toBe(true)
  })
})

/** Runs a line of bash: $0 is Node, the rest are the arguments. */
function runShell(command: string, ...args: string[]): Promise<{ code: number | null; stderr: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn('bash', ['-c', command, process.execPath, ...args], {
      cwd: root,
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    let stderr = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text
    })
    child.once('error', reject).once('close', (code) => resolve({ code, stderr }))
  })
}
