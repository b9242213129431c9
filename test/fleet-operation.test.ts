import { createHash } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { addImage } from './support/image-folder.ts'
import { noise } from './support/pattern.ts'
import { differenceOf } from './support/qemu.ts'
import { type RedisServer, startRedis } from './support/redis-server.ts'
import { testBucket } from './support/s3-bucket.ts'
import { type LogLine, type ServiceProcess, serviceProcesses } from './support/service-process.ts'
import { tempFolder } from './support/temp-folder.ts'

const MiB = 2 ** 20
const path = tempFolder()
const bucket = testBucket()
const startProcess = serviceProcesses()
const headers = { 'X-Auth-Token': 'a-token' }
/** What a probe that is asked every few seconds can wait for. */
const SOON_MS = 6000

let redis: RedisServer
let front: ServiceProcess

beforeAll(async () => {
  redis = await startRedis()
  const sha256 = createHash('sha256').update('a-token').digest('hex')
  await writeFile(path('tokens.json'), JSON.stringify([{ sha256, project: 'p1', roles: ['te_admin'] }]))
  await writeFile(path('config.json'), JSON.stringify({ port: 0, threads: 1, redis: redis.url, lockSeconds: 5 }))
  await writeFile(path('disk.raw'), noise(9, 16 * MiB))
  await writeFile(path('small.raw'), noise(10, MiB))
  for (const image of ['one', 'two', 'three']) await addImage(path('images'), image, path('disk.raw'))
  await addImage(path('images'), 'four', path('small.raw'))
  front = await start('serve', { DISKFERRY_CONCURRENCY: '0' })
})
afterAll(() => redis.stop())

function start(command: 'serve' | 'worker', more: Record<string, string>): Promise<ServiceProcess> {
  const listen = command === 'worker' ? ['--listen', '127.0.0.1:0'] : []
  const environment = { ...bucket.environment(), DISKFERRY_CONCURRENCY: '1', ...more }
  return startProcess([command, '--config', path('config.json'), ...listen], environment)
}

async function ask(url: string, init: RequestInit = {}) {
  const asked = performance.now()
  const answer = await fetch(url, { ...init, headers })
  return { status: answer.status, text: await answer.text(), ms: performance.now() - asked, headers: answer.headers }
}

const status = async (url: string) => (await ask(url)).status
const send = (image: string) => {
  const body = JSON.stringify({ bucket_url: `${bucket.name}:${image}.vhd`, file_format: 'vhd' })
  return ask(`${front.address}/v1/cloudimages/${image}/file`, { method: 'POST', body })
}

async function submit(image: string): Promise<string> {
  const { status, text } = await send(image)
  expect({ status, text }).toMatchObject({ status: 200 })
  return (JSON.parse(text) as { job_id: string }).job_id
}

const metric = async (address: string, name: string) =>
  (await ask(`${address}/metrics`)).text.split('\n').find((line) => line.startsWith(`${name} `))
const stateOf = async (job: string) => JSON.parse((await ask(`${front.address}/v1/p1/jobs/${job}`)).text).status
const uploading = (image: string) =>
  expect.poll(() => bucket.openUploads(), { timeout: 60_000, interval: 20 }).toContain(`${image}.vhd`)
const succeeds = (job: string) => expect.poll(() => stateOf(job), { timeout: 60_000 }).toBe('SUCCESS')
const attempts = (log: LogLine[], job: string) =>
  log.flatMap((line) => (line.job === job && line.msg === 'export begun' ? [line.attempt] : []))

async function expectWhole(image: string, disk = 'disk'): Promise<void> {
  expect(await bucket.openUploads()).toEqual([])
  await writeFile(path(`${image}.vhd`), await bucket.get(`${image}.vhd`))
  expect(await differenceOf([path(`${disk}.raw`), 'raw'], [path(`${image}.vhd`), 'vpc'])).toBeUndefined()
}

describe('a fleet in operation', () => {
  it.each([
    ['worker', 'one'],
    ['serve', 'two'],
  ] as const)('a %s that is told to end hands its export back, and another one ends it', async (command, image) => {
    const first = await start(command, { DISKFERRY_GRACE_SECONDS: '0' })
    const job = await submit(image)
    await uploading(image)
    expect([await status(`${first.address}/health`), await status(`${first.address}/ready`)]).toEqual([200, 200])
    expect(await metric(first.address, 'diskferry_exports_running')).toBe('diskferry_exports_running 1')
    expect(await first.terminate()).toEqual([0, null])
    expect(first.log.at(-1)?.msg).toBe('stopped')
    expect(await bucket.openUploads()).toEqual([])
    expect(await stateOf(job)).toBe('INIT')

    const second = await start('worker', {})
    await succeeds(job)
    expect([attempts(first.log, job), attempts(second.log, job)]).toEqual([[1], [2]])
    await expectWhole(image)
    expect(await second.terminate()).toEqual([0, null])
  })

  it('a worker that has time ends its export, and is not ready meanwhile', async () => {
    const worker = await start('worker', {})
    const job = await submit('three')
    await uploading('three')
    const ended = worker.terminate()
    await expect.poll(() => status(`${worker.address}/ready`), { interval: 10 }).toBe(503)
    expect(await status(`${worker.address}/health`)).toBe(200)
    expect(await ended).toEqual([0, null])
    expect(await stateOf(job)).toBe('SUCCESS')
    expect(attempts(worker.log, job)).toEqual([1])
    await expectWhole('three')
  })

  it('says soon that Redis is away, and goes on when it is back', async () => {
    const worker = await start('worker', {})
    const job = `${front.address}/v1/p1/jobs/${'0'.repeat(32)}`
    expect(await status(job)).toBe(404)
    await redis.end()
    const answers = await Promise.all([ask(job), ask(`${front.address}/v1/p1/jobs`), send('one')])
    for (const { status, text, ms, headers } of answers) {
      expect([status, headers.get('Retry-After')]).toEqual([503, '5'])
      expect(JSON.parse(text)).toEqual({
        error: { code: 'DFY.0503', message: 'the queue is unavailable: try again later' },
      })
      expect(ms).toBeLessThan(SOON_MS)
    }
    for (const { address } of [front, worker]) {
      const ready = await ask(`${address}/ready`)
      expect(ready).toMatchObject({ status: 503, text: JSON.stringify({ status: 'unavailable' }) })
      expect(ready.ms).toBeLessThan(SOON_MS)
      expect(await status(`${address}/health`)).toBe(200)
      expect(await metric(address, 'diskferry_ready')).toBe('diskferry_ready 0')
    }
    await redis.start()
    for (const { address } of [front, worker])
      await expect.poll(() => status(`${address}/ready`), { timeout: 30_000 }).toBe(200)
    expect(await status(job)).toBe(404)
    await succeeds(await submit('four'))
    await expectWhole('four', 'small')
    expect(await worker.terminate()).toEqual([0, null])
  })

  it('is not stopped by a Redis that is silent', async () => {
    process.kill(redis.pid, 'SIGSTOP')
    try {
      const { status, ms } = await ask(`${front.address}/ready`)
      expect(status).toBe(503)
      expect(ms).toBeLessThan(SOON_MS)
    } finally {
      process.kill(redis.pid, 'SIGCONT')
    }
    await expect.poll(() => status(`${front.address}/ready`), { timeout: 30_000 }).toBe(200)
    expect(await front.terminate()).toEqual([0, null])
  })
})
