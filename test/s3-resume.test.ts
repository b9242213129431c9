import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { HeadObjectCommand, UploadPartCommand } from '@aws-sdk/client-s3'
import { beforeAll, describe, expect, it } from 'vitest'
import { crc32c, crc32cToHex } from '../src/bytes/crc32c.ts'
import type { ConvertOptions, S3TargetOptions } from '../src/index.ts'
import * as sources from '../src/index.ts'
import { sha256 } from './support/convert.ts'
import { runKilled } from './support/kill-resume.ts'
import { noise } from './support/pattern.ts'
import { root, runCli } from './support/run-node.ts'
import { clientOf, onRequest, type ToldChecksums, tellingChecksums, testBucket } from './support/s3-bucket.ts'
import { countingSource } from './support/sources.ts'
import { tempFolder } from './support/temp-folder.ts'

const MiB = 2 ** 20
const partSize = 5 * MiB
const path = tempFolder()
const bucket = testBucket()
const disk = noise(5, 32 * MiB)

/** How often a process is killed here; `KILLS=30` for the long run. */
const KILLS = Number(process.env.KILLS ?? 1)
const KINDS = [
  { to: 'raw', options: [] },
  { to: 'qcow2', options: ['-o', 'compression=zlib'] },
  { to: 'vmdk', options: [] },
] as const

type Library = Pick<typeof sources, 'convert' | 's3Target'>

function upload(
  key: string,
  target: Partial<S3TargetOptions>,
  options: Partial<ConvertOptions<'qcow2'>> = {},
  library: Library = sources,
) {
  const place = library.s3Target({
    client: clientOf(bucket.server),
    bucket: bucket.name,
    key,
    resume: true,
    partSize,
    ...target,
  })
  return library.convert({ source: disk, from: 'raw', to: 'qcow2', threads: 0, ...options, target: place })
}

/** A client that fails from part `number` on, for good. */
function failingFrom(number: number) {
  return onRequest(clientOf(bucket.server), ({ input }) => {
    if ((input.PartNumber as number) >= number) throw new Error('no way')
  })
}

/** A client, and the numbers of the parts that it sends. */
function counting() {
  const sent: number[] = []
  const client = onRequest(clientOf(bucket.server), ({ command, input }) => {
    if (command === UploadPartCommand.name) sent.push(input.PartNumber as number)
  })
  return { client, sent }
}

beforeAll(() => writeFileSync(path('disk.raw'), disk))

describe('an upload that failed, with resume', () => {
  it.each([
    ['uncompressed', {}, [5, 6, 7]],
    ['compressed, its head last', { compression: 'zlib' }, [1, 5, 6, 7]],
  ] as const)('goes on where it was: %s', async (key, options, missing) => {
    await expect(upload(key, { client: failingFrom(5), concurrency: 1 }, { options })).rejects.toThrow('no way')
    expect(await bucket.openUploads()).toEqual([key])
    const { client, sent } = counting()
    const result = await upload(key, { client }, { options, threads: 2 })
    expect(sent.toSorted()).toEqual(missing)
    expect(result.resumedBytes).toBe(partSize * (7 - missing.length))
    await upload(`${key} undisturbed`, {}, { options })
    expect(sha256(await bucket.get(key))).toBe(sha256(await bucket.get(`${key} undisturbed`)))
    expect(await bucket.openUploads()).toEqual([])
  })

  it('does not take parts of another disk', async () => {
    await expect(upload('other', { client: failingFrom(5) }, { source: noise(6, 32 * MiB) })).rejects.toThrow('no way')
    const result = await upload('other', {}, { to: 'raw' } as object)
    expect(result.resumedBytes).toBe(0)
    expect((await bucket.get('other')).equals(disk)).toBe(true)
    expect(await bucket.openUploads()).toEqual([])
  })

  it('is shown, and removed, by the command', async () => {
    await expect(upload('left', { client: failingFrom(3) })).rejects.toThrow('no way')
    const env = bucket.environment()
    const listed = await runCli(['uploads', 'ls', 's3://exports', '--json'], { env })
    expect(JSON.parse(listed.stdout.toString())).toMatchObject([{ key: 'left' }])
    expect(await runCli(['uploads', 'abort', 's3://exports/left'], { env })).toMatchObject({ code: 0 })
    expect(await bucket.openUploads()).toEqual([])
  })
})

describe('parts whose checksums the store tells', () => {
  const told: ToldChecksums = new Map()
  const changed = Buffer.from(disk)
  changed.fill(7, 12 * MiB, 32 * MiB)

  /** A client whose part `failing` never arrives, and the parts that it sends. */
  function telling(failing?: number) {
    const sent: number[] = []
    const client = onRequest(tellingChecksums(clientOf(bucket.server), told), ({ command, input }) => {
      if (command !== UploadPartCommand.name) return
      if (input.PartNumber === failing) throw new Error('no way')
      sent.push(input.PartNumber as number)
    })
    return { client, sent }
  }

  function job(version: string, to: string, bytes = disk) {
    const source = Object.assign(countingSource(bytes), { version })
    const read = () => source.reads.reduce((sum, { length }) => sum + length, 0)
    return { source, to: to as 'qcow2', keepZeros: true, read }
  }

  it.each([
    ['raw', 'sources', () => sources],
    ['qcow2', 'sources', () => sources],
    ['raw', 'built package', (): Promise<Library> => import(join(root, 'dist/index.js'))],
  ])('are neither read nor made again: %s, by the %s', async (to, who, load) => {
    const library = await load()
    const key = `${to} by the ${who}`
    const broken = upload(key, { client: telling(6).client, concurrency: 1 }, job('1', to), library)
    await expect(broken).rejects.toThrow('no way')
    const { client, sent } = telling()
    const { read, ...again } = job('1', to)
    const result = await upload(key, { client }, again, library)
    expect(sent.toSorted()).toEqual([6, 7])
    expect(read()).toBeLessThan(disk.length - 5 * partSize + 2 * MiB)
    const whole = await bucket.get(key)
    expect(result).toMatchObject({ resumedBytes: 5 * partSize, crc32c: crc32cToHex(crc32c(whole)), parts: 7 })
    await upload(`${key} undisturbed`, {}, job('1', to))
    expect(sha256(whole)).toBe(sha256(await bucket.get(`${key} undisturbed`)))
    expect(await bucket.openUploads()).toEqual([])
  })

  it('are made again and compared when the source has another version', async () => {
    const broken = upload('version', { client: telling(6).client, concurrency: 1 }, job('1', 'raw'))
    await expect(broken).rejects.toThrow('no way')
    const { client, sent } = telling()
    const { read, ...again } = job('2', 'raw', changed)
    const { resumedBytes } = await upload('version', { client }, again)
    expect(resumedBytes).toBe(2 * partSize)
    expect(sent).toEqual(expect.arrayContaining([3, 4, 5, 6, 7]))
    expect(read()).toBeGreaterThanOrEqual(disk.length)
    expect((await bucket.get('version')).equals(changed)).toBe(true)
  })

  it('are believed no more once another job has gone on with the upload', async () => {
    const broken = upload('mixed', { client: telling(6).client, concurrency: 1 }, job('1', 'raw'))
    await expect(broken).rejects.toThrow('no way')
    const other = upload('mixed', { client: telling(5).client, concurrency: 1 }, job('2', 'raw', changed))
    await expect(other).rejects.toThrow('no way')
    const { resumedBytes } = await upload('mixed', { client: telling().client }, job('1', 'raw'))
    expect(resumedBytes).toBe(3 * partSize)
    expect((await bucket.get('mixed')).equals(disk)).toBe(true)
    expect(await bucket.openUploads()).toEqual([])
  })
})

describe('an upload that was begun with a digest', () => {
  const small = Object.assign(countingSource(disk.subarray(0, 12 * MiB)), { version: '1' })
  const job = { source: small, to: 'raw' as 'qcow2', digest: true }
  const failing = () =>
    onRequest(clientOf(bucket.server), ({ input }) => {
      if (input.PartNumber === 2) throw new Error('no way')
    })

  it('is gone on with by the same job alone', async () => {
    await expect(upload('digest', { client: failing(), concurrency: 1 }, job)).rejects.toThrow('no way')
    const unknown = { ...job, source: { ...small, version: '2' } }
    await expect(upload('digest', { client: failing(), concurrency: 1 }, unknown)).rejects.toThrow('no way')
    expect(await bucket.openUploads()).toEqual(['digest', 'digest'])
    const { resumedBytes, digest } = await upload('digest', {}, job)
    expect(resumedBytes).toBe(partSize)
    const head = await bucket.client.send(new HeadObjectCommand({ Bucket: bucket.name, Key: 'digest' }))
    expect(head.Metadata).toMatchObject({ 'diskferry-digest': digest })
    expect(await bucket.openUploads()).toEqual([])
  })

  it('leaves no object that says it of what may be another disk', async () => {
    await expect(upload('stale', { client: failing(), concurrency: 1 }, job)).rejects.toThrow('no way')
    const other = { to: job.to, source: disk.subarray(0, 12 * MiB) }
    await expect(upload('stale', {}, other)).rejects.toMatchObject({ code: 'checksum-mismatch' })
    expect(await bucket.keys()).not.toContain('stale')
    await upload('stale', {}, other)
    expect((await bucket.get('stale')).length).toBe(12 * MiB)
  })
})

describe('a process that is killed', () => {
  it(`${KILLS} times leaves what another one completes, byte for byte`, { timeout: 900_000 }, async () => {
    const random = noise(Number(process.env.SEED ?? 1), KILLS)
    const env = bucket.environment()
    const rows: string[] = []
    for (let round = 0; round < KILLS; round++) {
      const { to, options } = KINDS[round % KINDS.length] as (typeof KINDS)[number]
      const place = (name: string) => [path('disk.raw'), `s3://exports/${name}`, '--to', to, ...options]
      if (round < KINDS.length) expect(await runKilled(place(`whole.${to}`), env)).toMatchObject({ code: 0 })
      const key = `killed-${round}`
      const after = 400 + (random[round] as number) * 16
      const { killed } = await runKilled([...place(key), '--threads', '2'], env, after)
      const there = (await bucket.keys()).includes(key)
      const force = there ? ['--force'] : []
      const resumed = await runKilled([...place(key), ...force, '--threads', String(round % 2)], env)
      expect(resumed).toMatchObject({ code: 0, stderr: '' })
      expect(sha256(await bucket.get(key)), key).toBe(sha256(await bucket.get(`whole.${to}`)))
      const { resumedBytes = 0, bytesWritten = 0 } = resumed.result ?? {}
      const again = ((bytesWritten - resumedBytes) / MiB).toFixed(1)
      rows.push(
        `${to}: ${killed ? 'killed' : 'done'} after ${after} ms, sent again ${again} of ${(bytesWritten / MiB).toFixed(1)} MiB`,
      )
    }
    console.log(rows.join('\n'))
    expect(await bucket.openUploads()).toEqual([])
  })
})
