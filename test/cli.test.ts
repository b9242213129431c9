import { spawn } from 'node:child_process'
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { beforeAll, describe, expect, it } from 'vitest'
import { convert, describeFormats, inspect } from '../src/index.ts'
import { sha256 } from './support/convert.ts'
import { patched } from './support/patch.ts'
import { contentOf, fullPattern, makePattern, noise } from './support/pattern.ts'
import { convertImage, createImage, differenceOf } from './support/qemu.ts'
import { type NodeOptions, root, runCli, runNode } from './support/run-node.ts'
import { testBucket } from './support/s3-bucket.ts'
import { tempFolder } from './support/temp-folder.ts'

const MiB = 2 ** 20
const path = tempFolder()
const disk = contentOf(makePattern(31, 9 * MiB + 512))
const image = path('disk.qcow2')

beforeAll(async () => {
  await writeFile(path('disk.raw'), disk)
  await convertImage([path('disk.raw'), 'raw'], [image, 'qcow2'])
})

/** What a command line says on stderr when it ends with `code`, and prints nothing. */
async function refusal(code: number, ...args: string[]): Promise<string> {
  const result = await runCli(args)
  expect({ code: result.code, stdout: result.stdout.toString(), stderr: result.stderr }).toMatchObject({
    code,
    stdout: '',
  })
  expect(result.stderr).not.toMatch(/\n {4}at /)
  return result.stderr
}

describe('help', () => {
  it.each([
    [['--help'], 'Commands:'],
    [['help', 'convert'], '--to <format>'],
    [['convert', '--help'], 'AWS_ENDPOINT_URL_S3'],
    [['inspect', '--help'], '--from <format>'],
    [['formats', '--help'], '--json'],
  ])('of %j goes to standard output, without noise', async (args, expected) => {
    const { code, stdout, stderr } = await runCli(args)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout.toString()).toContain(expected)
    expect(stdout.toString()).not.toMatch(/default: (false|\[])/)
  })

  it('names every format that can be written, and the exit codes', async () => {
    const writable = describeFormats().flatMap(({ name, writes }) => (writes ? [name] : []))
    const { stdout } = await runCli(['convert', '--help'])
    expect(stdout.toString().replace(/\s+/g, ' ')).toContain(`format to write: ${writable.join(', ')}`)
    expect((await runCli(['--help'])).stdout.toString()).toMatch(/0 {2}done[\s\S]*130 {2}interrupted/)
  })

  it('gives the version of the package', async () => {
    const { version } = JSON.parse(await readFile(`${root}package.json`, 'utf8')) as { version: string }
    expect((await runCli(['--version'])).stdout.toString().trim()).toBe(version)
  })
})

describe('formats', () => {
  it('lists each with its options', async () => {
    const { code, stdout } = await runCli(['formats'])
    expect(code).toBe(0)
    for (const { name, options } of describeFormats()) {
      expect(stdout.toString()).toMatch(new RegExp(`^${name} `, 'm'))
      for (const { key } of options) expect(stdout.toString()).toContain(`-o ${key}=`)
    }
  })

  it('prints one JSON array', async () => {
    const { stdout } = await runCli(['formats', '--json'])
    expect(JSON.parse(stdout.toString())).toEqual(JSON.parse(JSON.stringify(describeFormats())))
  })

  it('may be cut short by whoever reads it', async () => {
    const command = '"$0" dist/cli/main.js formats | head -1; echo $PIPESTATUS'
    const { stdout, stderr } = await runBash(command)
    expect(stderr).toBe('')
    expect(stdout).toMatch(/^raw .*\n0\n$/)
  })

  it('says when its output can not be written', async () => {
    const { code, stderr } = await runBash('"$0" dist/cli/main.js formats >/dev/full')
    expect(code).toBe(5)
    expect(stderr).toMatch(/^diskferry: can't write standard output: ENOSPC\n/)
    expect(stderr.match(/ENOSPC/g)).toHaveLength(1)
  })
})

describe('inspect', () => {
  it('says what an image is', async () => {
    const { code, stdout, stderr } = await runCli(['inspect', image])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout.toString()).toMatch(/format +qcow2 \(v3\)/)
    expect(stdout.toString()).toContain(`${disk.length} bytes`)
  })

  it('prints what the library says, as one JSON object', async () => {
    const { stdout } = await runCli(['inspect', image, '--json'])
    expect(JSON.parse(stdout.toString())).toEqual(JSON.parse(JSON.stringify(await inspect(image))))
  })

  it('believes --from', async () => {
    const probed = JSON.parse((await runCli(['inspect', image, '--json'])).stdout.toString())
    const believed = JSON.parse((await runCli(['inspect', image, '--json', '--from', 'raw'])).stdout.toString())
    expect([probed.format, believed.format]).toEqual(['qcow2', 'raw'])
    expect(believed.virtualSize).toBe((await stat(image)).size)
  })
})

describe('convert', () => {
  it('writes a file, and tells where, what and how much', async () => {
    const target = path('told.vhd')
    const { code, stdout, stderr } = await runCli(['convert', image, target, '--to', 'vhd'])
    expect({ code, stdout: stdout.toString() }).toEqual({ code: 0, stdout: '' })
    expect(stderr).toContain(`${target}: vhd dynamic`)
    expect(stderr).toMatch(/CRC32C [0-9a-f]{8}/)
    expect(await differenceOf([image, 'qcow2'], [target, 'vpc'])).toBeUndefined()
  })

  it('prints one JSON object, and progress on standard error', async () => {
    const { stdout, stderr } = await runCli(['convert', image, path('json.vhd'), '--to', 'vhd', '--json'])
    const result = JSON.parse(stdout.toString())
    expect(result).toMatchObject({ location: path('json.vhd'), format: 'vhd', source: { format: 'qcow2' } })
    expect(stdout.toString().trimEnd()).toBe(JSON.stringify(result, null, 2))
    expect(stderr).toMatch(/^looking through/)
  })

  it('is silent with --quiet', async () => {
    const { code, stdout, stderr } = await runCli(['convert', image, path('quiet.vhd'), '--to', 'vhd', '--quiet'])
    expect({ code, stdout: stdout.toString(), stderr }).toEqual({ code: 0, stdout: '', stderr: '' })
  })

  it('takes options repeated, and as a list', async () => {
    const repeated = ['-o', 'subformat=fixed', '-o', 'align=1M']
    const list = ['--option', 'subformat=fixed,align=1M']
    for (const [name, options] of [
      ['repeated', repeated],
      ['list', list],
    ] as const) {
      await runCli(['convert', image, path(`${name}.vhd`), '--to', 'vhd', '-q', ...options])
    }
    const target = path('library.vhd')
    await convert({ source: image, to: 'vhd', options: { subformat: 'fixed', align: MiB }, target, threads: 0 })
    const expected = sha256(await readFile(target))
    expect(sha256(await readFile(path('repeated.vhd')))).toBe(expected)
    expect(sha256(await readFile(path('list.vhd')))).toBe(expected)
  })

  it.each(['0', '1', '2'])('gives the same bytes with %s threads', async (threads) => {
    const target = path(`threads-${threads}.qcow2`)
    const { code } = await runCli(['convert', image, target, '--to', 'qcow2', '-q', '--threads', threads])
    expect(code).toBe(0)
    await convert({ source: image, to: 'qcow2', target: path('threads.qcow2'), threads: 0 })
    expect((await readFile(target)).equals(await readFile(path('threads.qcow2')))).toBe(true)
  })

  it('pipes nothing but the image, whatever else is asked', async () => {
    const command = '"$0" dist/cli/main.js convert "$1" - --to raw --json | sha256sum'
    const { stdout } = await runBash(command, image)
    expect(stdout).toBe(`${sha256(disk)}  -\n`)
  })

  it('believes --from, where the guest wrote a header into its disk', async () => {
    const header = await readFile(image)
    const guest = patched(Buffer.alloc(MiB), 0, header.subarray(0, 512))
    await writeFile(path('trap.raw'), guest)
    const { code, stdout } = await runCli(['convert', path('trap.raw'), '-', '--from', 'raw', '--to', 'raw', '-q'])
    expect(code).toBe(0)
    expect(stdout.equals(guest)).toBe(true)
  })

  it('shows progress as lines where there is no terminal', async () => {
    const { stderr } = await runCli(['convert', image, path('lines.raw'), '--to', 'raw'])
    for (const mark of ['\x1b', '\r', '█']) expect(stderr).not.toContain(mark)
    expect(stderr.split('\n')[0]).toMatch(/^looking through: .* of 9\.00 MiB/)
  })

  it('shows a bar on a terminal, and ends it with its line', async () => {
    const command = `${process.execPath} dist/cli/main.js convert ${image} ${path('bar.raw')} --to raw`
    const { code, stdout } = await run('script', ['-qec', command, '/dev/null'])
    expect(code).toBe(0)
    expect(stdout).toMatch(/looking through \[░+\] 0% \| 0 B of 9\.00 MiB/)
    expect(stdout).toMatch(/finishing {7}\[█+\] 100% \| [0-9.]+ MiB written/)
    expect(stdout).toMatch(/\n\S*bar\.raw: raw/)
  })
})

describe('exit codes', () => {
  it('2 for a command line that is wrong, naming the choices', async () => {
    expect(await refusal(2)).toContain('Usage: diskferry')
    expect(await refusal(2, 'transmogrify')).toContain("unknown command 'transmogrify'")
    expect(await refusal(2, 'convert', image, '--to', 'vhd')).toContain("missing required argument 'target'")
    expect(await refusal(2, 'convert', image, path('x'))).toContain("'--to <format>' not specified")
    expect(await refusal(2, 'convert', image, path('x'), '--to', 'vhd', '--fast')).toContain("unknown option '--fast'")
    expect(await refusal(2, 'convert', image, path('x'), '--to', 'zip')).toMatch(/no format "zip"\n.*raw, qcow2, vhd/)
    expect(await refusal(2, 'inspect', image, '--from', 'zip')).toMatch(/no format "zip"\n.*raw, qcow2, vhd/)
    expect(await refusal(2, 'convert', image, path('x'), '--to', 'vhd', '-o', 'size=3')).toMatch(
      /vhd has no option size: it has subformat, block_size/,
    )
    expect(await refusal(2, 'convert', image, path('x'), '--to', 'vhd', '-o', 'subformat=odd')).toMatch(
      /subformat is "odd": it takes dynamic or fixed/,
    )
    expect(await refusal(2, 'convert', image, path('x'), '--to', 'vhd', '-o', 'fixed')).toMatch(/fixed.*\n.*key=value/)
    expect(await refusal(2, 'convert', image, path('x'), '--to', 'vhd', '--threads', 'many')).toMatch(/--threads many/)
    expect(await refusal(2, 'convert', image, 's3://bucket', '--to', 'vhd')).toMatch(
      /s3:\/\/bucket.*\n.*s3:\/\/bucket\/key/,
    )
    expect(await refusal(2, 'convert', image, root, '--to', 'vhd')).toContain('is a directory')
  })

  it('3 for an image that must not or can not be converted', async () => {
    await createImage(path('overlay.qcow2'), 'qcow2', MiB, { extra: ['-b', image, '-F', 'qcow2'] })
    expect(await refusal(3, 'convert', path('overlay.qcow2'), path('x'), '--to', 'raw', '-q')).toContain('disk.qcow2')
    expect(await refusal(3, 'convert', image, path('x'), '--to', 'luks')).toMatch(/luks can't be written\n.*raw, qcow2/)
    await createImage(path('disk.qed'), 'qed', MiB)
    expect(await refusal(3, 'convert', path('disk.qed'), path('x'), '--to', 'raw')).toMatch(/QED.*can't be read/)
  })

  it('4 for a source that is missing or damaged', async () => {
    expect(await refusal(4, 'convert', path('nothing'), path('x'), '--to', 'raw')).toMatch(/ENOENT\n.*check the path/)
    expect(await refusal(4, 'inspect', root)).toContain('it is a directory')
    await writeFile(path('damaged.qcow2'), (await readFile(image)).subarray(0, 70_000))
    expect(await refusal(4, 'convert', path('damaged.qcow2'), path('x'), '--to', 'raw', '-q')).toMatch(/offset/)
  })

  it('5 for a target that can not be written', async () => {
    expect(await refusal(5, 'convert', image, path('no/folder'), '--to', 'raw', '-q')).toMatch(/ENOENT\n.*folder/)
  })

  it('says what was wrong as one JSON object, where that is asked', async () => {
    const cases = [
      [4, ['convert', path('nothing'), path('x'), '--to', 'raw', '--json'], 'source-unreadable'],
      [2, ['convert', image, path('x'), '--to', 'zip', '--json'], 'usage'],
      [2, ['convert', image, '--json'], 'usage'],
    ] as const
    for (const [expected, args, error] of cases) {
      const { code, stdout } = await runCli(args)
      expect(code).toBe(expected)
      expect(JSON.parse(stdout.toString())).toMatchObject({ error: { code: error, message: expect.any(String) } })
    }
  })

  it('puts no JSON behind an image that goes to standard output', async () => {
    await writeFile(path('damaged.qcow2'), (await readFile(image)).subarray(0, 70_000))
    expect(await refusal(4, 'convert', path('damaged.qcow2'), '-', '--to', 'raw', '-q', '--json')).toMatch(/offset/)
  })
})

/** Sends a signal when the process has said one of these words, and only then. */
function once(signal: NodeJS.Signals, ...words: string[]): NonNullable<NodeOptions['onStderr']> {
  let sent = false
  return (text, kill) => {
    if (!sent && words.some((word) => text.includes(word))) kill(signal)
    sent ||= words.some((word) => text.includes(word))
  }
}

describe('Ctrl-C', () => {
  it.each(['SIGINT', 'SIGTERM'] as const)('by %s midway leaves nothing, and ends with 130', async (signal) => {
    const source = path('long.raw')
    await writeFile(source, contentOf(fullPattern(4, 256 * MiB)))
    const before = await readdir(path(''))
    const { code, stdout, stderr } = await runCli(['convert', source, path('long.vhd'), '--to', 'vhd', '--json'], {
      onStderr: once(signal, 'looking through'),
    })
    expect({ code, stderr }).toMatchObject({ code: 130, stderr: expect.stringContaining('interrupted') })
    expect(JSON.parse(stdout.toString())).toHaveProperty('error')
    expect(await readdir(path(''))).toEqual(before)
  })

  it('that comes twice at once, as by way of npx, is one', async () => {
    const { code } = await runCli(['convert', path('long.raw'), path('long.vhd'), '--to', 'vhd'], {
      onStderr: (text, kill) => {
        if (text.includes('looking through') && !text.includes('interrupted'))
          for (let i = 0; i < 3; i++) kill('SIGINT')
      },
    })
    expect(code).toBe(130)
    expect(await readdir(path(''))).not.toContain('long.vhd')
  })
})

describe('names that would steer a terminal', () => {
  it('are printed escaped', async () => {
    const name = path('\x1b[31mred\u202e.raw')
    await writeFile(name, Buffer.alloc(512))
    const escaped = '\\u{1b}[31mred\\u{202e}.raw'
    const inspected = await runCli(['inspect', name])
    expect(inspected.stdout.toString()).toContain(escaped)
    const converted = await runCli(['convert', name, `${name}.vhd`, '--to', 'vhd'])
    expect(converted.stderr).toContain(`${escaped}.vhd: vhd`)
    const missing = await runCli(['inspect', `${name}.nothing`])
    expect(missing.stderr).toContain(`${escaped}.nothing: ENOENT`)
    const overlay = await runCli(['inspect', await overlayOn('/tmp/\x1b[2Jgone')])
    expect(overlay.stderr).toContain('[2Jgone')
    for (const { stdout, stderr } of [inspected, converted, missing, overlay]) {
      for (const mark of ['\x1b', '\u202e']) expect(stdout.toString() + stderr).not.toContain(mark)
    }
  })
})

/** An image that names a file of that name as its backing file. */
async function overlayOn(name: string): Promise<string> {
  const header = Buffer.from(await readFile(image))
  header.writeBigUInt64BE(0x8000n, 8)
  header.writeUInt32BE(name.length, 16)
  header.write(name, 0x8000)
  await writeFile(path('named.qcow2'), header)
  return path('named.qcow2')
}

describe('s3://', () => {
  const bucket = testBucket()

  it('is found by the environment', async () => {
    const env = bucket.environment()
    const { code, stdout, stderr } = await runCli(
      ['convert', image, 's3://exports/a/disk.vhd', '--to', 'vhd', '--json'],
      { env },
    )
    expect(code).toBe(0)
    expect(stderr).not.toContain('Warning')
    expect(JSON.parse(stdout.toString())).toMatchObject({
      location: 's3://exports/a/disk.vhd',
      parts: expect.any(Number),
    })
    await convert({ source: image, to: 'vhd', target: path('s3.vhd'), threads: 0 })
    expect((await bucket.get('a/disk.vhd')).equals(await readFile(path('s3.vhd')))).toBe(true)
  })

  it('may be left out, where no file is meant', async () => {
    const [env, cwd] = [bucket.environment(), path('short')]
    await mkdir(cwd)
    const convertTo = (from: string, to: string) =>
      runNode([`${root}dist/cli/main.js`, 'convert', from, to, '--to', 'raw', '-q'], { env, cwd })
    expect(await convertTo(image, 'exports:b/disk.raw')).toMatchObject({ code: 0 })
    expect(await convertTo('exports:b/disk.raw', './exports:b.raw')).toMatchObject({ code: 0 })
    expect((await bucket.get('b/disk.raw')).equals(await readFile(path('short/exports:b.raw')))).toBe(true)
    await writeFile(path('short/exports:there'), 'a file')
    expect(await convertTo('exports:b.raw', 'exports:there')).toMatchObject({ code: 0 })
    expect(await readFile(path('short/exports:there'))).toHaveLength((await bucket.get('b/disk.raw')).length)
    expect(await bucket.keys()).not.toContain('there')
  })

  it('ends with 5, and what to do, when it does not work', async () => {
    const env = bucket.environment()
    const convertTo = (place: string, more: Record<string, string>) =>
      runCli(['convert', image, place, '--to', 'vhd', '-q'], { env: { ...env, ...more } })
    const missing = await convertTo('s3://nowhere/disk.vhd', {})
    expect(missing).toMatchObject({ code: 5, stderr: expect.stringContaining('make the bucket first') })
    const wrong = await convertTo('s3://exports/disk.vhd', { AWS_SECRET_ACCESS_KEY: 'wrong' })
    expect(wrong).toMatchObject({ code: 5, stderr: expect.stringContaining('AWS_SECRET_ACCESS_KEY') })
    const { AWS_ENDPOINT_URL_S3: _, ...elsewhere } = env
    const nowhere = await runCli(['convert', image, 's3://exports/x', '--to', 'vhd', '-q'], { env: elsewhere })
    expect(nowhere).toMatchObject({ code: 5, stderr: expect.stringContaining('set AWS_REGION') })
  })

  it('has nothing of an upload that was interrupted', async () => {
    const source = path('long-upload.raw')
    await writeFile(source, noise(8, 64 * MiB))
    const { code } = await runCli(['convert', source, 's3://exports/long.raw', '--to', 'raw'], {
      env: bucket.environment(),
      onStderr: once('SIGINT', 'looking through'),
    })
    expect(code).toBe(130)
    expect(await bucket.keys()).not.toContain('long.raw')
    expect(await bucket.openUploads()).toEqual([])
  })
})

interface Output {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs a line of bash: $0 is Node, the rest are the arguments. */
function runBash(command: string, ...args: string[]): Promise<Output> {
  return run('bash', ['-c', command, process.execPath, ...args])
}

function run(command: string, args: readonly string[]): Promise<Output> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] })
    const said = { stdout: '', stderr: '' }
    for (const stream of ['stdout', 'stderr'] as const) {
      child[stream].setEncoding('utf8').on('data', (text: string) => {
        said[stream] += text
      })
    }
    child.once('error', reject).once('close', (code) => resolve({ code, ...said }))
  })
}
