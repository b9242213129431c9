import { readFile, writeFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { crc32c, crc32cToHex } from '../src/bytes/crc32c.ts'
import { createPool, memorySource, type Source } from '../src/index.ts'
import {
  exportRunner,
  folderCatalog,
  type ImageCatalog,
  type JobQueue,
  type JobRecord,
  openLocalQueue,
  s3Targets,
} from '../src/service/index.ts'
import type { components } from './support/api-types.ts'
import { apiServer } from './support/export-api.ts'
import { goodImage } from './support/export-cases.ts'
import { addImage } from './support/image-folder.ts'
import { someJob } from './support/job-queue-suite.ts'
import { contentOf, makePattern, noise, writePattern } from './support/pattern.ts'
import { createImage, differenceOf, type QemuFormat } from './support/qemu.ts'
import { testBucket } from './support/s3-bucket.ts'
import { tempFolder } from './support/temp-folder.ts'
import { decodeZvhd, decodeZvhd2 } from './support/zvhd-decoder.ts'

type Job = components['schemas']['Job']

const MiB = 2 ** 20
const path = tempFolder()
const bucket = testBucket()
const server = apiServer()
const pool = createPool({ threads: 0 })
const pattern = makePattern(7, 4 * MiB)
let queue: JobQueue
let targets: ReturnType<typeof s3Targets>

/** 64 MiB that trickle in, so that there is time to cancel. */
const slow: Source = {
  size: 64 * MiB,
  name: 'slow',
  async read(_, length) {
    await new Promise((resolve) => setTimeout(resolve, 100))
    return noise(3, length)
  },
}

function catalog(): ImageCatalog {
  const folder = folderCatalog(path('images'))
  return {
    ...folder,
    find: async (id) => (id === 'slow' ? { ...goodImage, id, name: 'slow' } : folder.find(id)),
    source: async (id) => (id === 'slow' ? { source: slow, from: 'raw' } : folder.source(id)),
  }
}

beforeAll(async () => {
  const disk = path('disk.qcow2')
  await createImage(disk, 'qcow2', pattern.size)
  await writePattern(disk, 'qcow2', pattern)
  for (const id of ['a', 'vhd', 'qcow2', 'vmdk', 'zvhd', 'quick', 'watched']) await addImage(path('images'), id, disk)
  targets = s3Targets({ client: bucket.client })
  queue = await openLocalQueue({ run: exportRunner({ catalog: catalog(), targets, pool }) })
  server.use({ catalog: catalog(), targets, queue })
})
afterAll(async () => {
  await queue?.close()
  await pool.close()
})

async function post(imageId: string, body: object, headers: Record<string, string> = {}) {
  const init = { method: 'POST', body: JSON.stringify(body), headers }
  const answer = await server.request(`/v1/cloudimages/${imageId}/file`, init)
  return { status: answer.status, body: (await answer.json()) as { job_id: string; error: { code: string } } }
}

async function get<T>(url: string): Promise<T> {
  return (await (await server.request(url)).json()) as T
}

async function finished(jobId: string): Promise<JobRecord> {
  let last: JobRecord | undefined
  for await (const record of queue.watch(jobId, AbortSignal.timeout(100_000))) last = record
  return last as JobRecord
}

const exports = [
  { id: 'vhd', asked: { file_format: 'vhd' }, to: 'vhd' },
  { id: 'qcow2', asked: { file_format: 'qcow2' }, to: 'qcow2' },
  { id: 'vmdk', asked: { file_format: 'vmdk' }, to: 'vmdk' },
  { id: 'zvhd', asked: { file_format: 'zvhd' }, to: 'zvhd' },
  { id: 'quick', asked: { is_quick_export: true }, to: 'zvhd2' },
] as const

describe('an export', () => {
  it.each(exports)('as $asked puts the whole disk into the bucket', async ({ id, asked, to }) => {
    const key = `exports/${id}.img`
    const { status, body } = await post(id, { bucket_url: `${bucket.name}:${key}`, ...asked })
    expect({ status, body }).toEqual({ status: 200, body: { job_id: expect.stringMatching(/^[0-9a-f]{32}$/) } })
    expect(await finished(body.job_id)).toMatchObject({ state: 'SUCCESS' })

    const job = await get<Job>(`/v1/cloudimages/job/${body.job_id}`)
    expect(job).toEqual({
      job_id: body.job_id,
      job_type: 'imsNativeExportImageJob',
      status: 'SUCCESS',
      begin_time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      end_time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      error_code: null,
      fail_reason: null,
      entities: { image_id: id, image_name: `image ${id}`, process_percent: 1, current_task: 'done' },
    })
    expect(await get<Job>(`/v1/p1/jobs/${body.job_id}`)).toEqual(job)

    const object = await bucket.get(key)
    await expectDisk(object, to)
    const { result } = await get<Job>(`/v1/p1/jobs/${body.job_id}?details=true`)
    expect(result).toMatchObject({
      location: `s3://${bucket.name}/${key}`,
      size: object.length,
      crc32c: crc32cToHex(crc32c(object)),
    })
  })

  const QEMU: Readonly<Record<string, QemuFormat>> = { vhd: 'vpc', qcow2: 'qcow2', vmdk: 'vmdk' }

  async function expectDisk(object: Buffer, format: string): Promise<void> {
    const qemu = QEMU[format]
    if (qemu === undefined) {
      const { disk } = (format === 'zvhd' ? decodeZvhd : decodeZvhd2)(object)
      expect(disk.subarray(0, pattern.size).equals(contentOf(pattern))).toBe(true)
      return
    }
    await writeFile(path(`read.${format}`), object)
    expect(await differenceOf([path('disk.qcow2'), 'qcow2'], [path(`read.${format}`), qemu])).toBeUndefined()
  }

  it('is one job for one Idempotency-Key', async () => {
    const body = { bucket_url: `${bucket.name}:once.vhd`, file_format: 'vhd' }
    const key = { 'Idempotency-Key': 'only-once' }
    const [first, second] = await Promise.all([post('a', body, key), post('a', body, key)])
    expect(second).toEqual(first)
    await finished(first.body.job_id)
    expect(await post('a', body, key)).toEqual(first)
    const other = await post('a', { ...body, file_format: 'qcow2' }, key)
    expect(other).toMatchObject({ status: 400, body: { error: { code: 'DFY.0003' } } })
    const again = await post('a', body)
    expect(again).toMatchObject({ status: 400, body: { error: { code: 'IMG.0070' } } })
  })

  it('can be followed as server-sent events', async () => {
    const { body } = await post('watched', { bucket_url: `${bucket.name}:watched.vhd`, file_format: 'vhd' })
    const answer = await server.request(`/v1/cloudimages/job/${body.job_id}/events`)
    expect(answer.headers.get('Content-Type')).toContain('text/event-stream')
    const events = (await answer.text()).split('\n\n').filter((event) => event.startsWith('event: job'))
    const jobs = events.map((event) => JSON.parse(event.slice(event.indexOf('data: ') + 6)) as Job)
    const percents = jobs.map(({ entities }) => entities.process_percent)
    expect(percents).toEqual([...percents].sort((a, b) => a - b))
    expect(jobs.at(-1)).toMatchObject({ status: 'SUCCESS', entities: { process_percent: 1 } })
  })

  it('that is cancelled leaves nothing in the bucket', async () => {
    const before = await bucket.keys()
    const asked = { bucket_url: `${bucket.name}:slow.raw`, file_format: 'vhd' }
    const { body } = await post('slow', asked)
    expect((await post('slow', asked)).body.error.code).toBe('IMG.0148')
    await expect.poll(() => bucket.openUploads(), { timeout: 60_000 }).toEqual(['slow.raw'])
    const running = await get<Job>(`/v1/cloudimages/job/${body.job_id}`)
    expect(running).toMatchObject({ status: 'RUNNING', end_time: '', error_code: null, fail_reason: null })

    const answer = await server.request(`/v1/cloudimages/job/${body.job_id}`, { method: 'DELETE' })
    expect(answer.status).toBe(200)
    await finished(body.job_id)
    expect(await get<Job>(`/v1/p1/jobs/${body.job_id}`)).toMatchObject({ status: 'FAIL', error_code: 'DFY.0001' })
    expect(await bucket.openUploads()).toEqual([])
    expect(await bucket.keys()).toEqual(before)
  })

  it('is in the list of its project’s jobs', async () => {
    const { jobs } = await get<{ jobs: Job[] }>('/v1/p1/jobs?limit=2')
    expect(jobs).toHaveLength(2)
    expect((jobs[0] as Job).begin_time >= (jobs[1] as Job).begin_time).toBe(true)
  })

  it('is counted', async () => {
    const text = await (await server.request('/metrics')).text()
    expect(text).toMatch(/diskferry_jobs\{state="running"\} 0/)
    expect(text).toContain('route="/v1/cloudimages/:image_id/file",status="200"')
    expect(text).not.toContain('watched')
  })
})

describe('the runner', () => {
  const context = { attempt: 1, signal: new AbortController().signal, report: () => undefined }
  const run = (imageId: string, more: Partial<JobRecord> = {}, attempt = 1) =>
    exportRunner({ catalog: catalog(), targets, pool })(
      someJob({ image: { id: imageId, name: 'n' }, bucket: bucket.name, ...more }),
      { ...context, attempt },
    )

  it('fails with IMG.0144 when the image is gone', async () => {
    await expect(run('nosuch')).rejects.toMatchObject({ name: 'JobFailure', code: 'IMG.0144', mayRetry: false })
  })

  it('fails with IMG.0070 when somebody else’s object has come, and leaves it', async () => {
    await bucket.put('theirs', Buffer.from('theirs'))
    await expect(run('a', { key: 'theirs' })).rejects.toMatchObject({ code: 'IMG.0070' })
    expect((await bucket.get('theirs')).toString()).toBe('theirs')
  })

  it('takes the object that an earlier attempt has finished for its own', async () => {
    const { id } = someJob()
    const first = await run('a', { id, key: 'again' })
    const second = await run('a', { id, key: 'again' }, 2)
    expect(second).toMatchObject({ location: first.location, size: first.size })
    await expect(run('a', { key: 'again' }, 2)).rejects.toMatchObject({ code: 'IMG.0070' })
  })

  it('says what is wrong with a damaged image, and that trying again is of no use', async () => {
    const damaged = Buffer.from(await readFile(path('disk.qcow2')))
    damaged.fill(0xff, 3 * 65536, 3 * 65536 + 64)
    const broken = { ...catalog(), source: async () => ({ source: memorySource(damaged) }) }
    const job = someJob({ image: { id: 'a', name: 'n' }, bucket: bucket.name, key: 'damaged' })
    const failure = exportRunner({ catalog: broken, targets, pool })(job, context)
    await expect(failure).rejects.toMatchObject({
      code: 'IMG.0061',
      mayRetry: false,
      message: /^malformed|^truncated|^unsupported/,
    })
    expect(await bucket.keys()).not.toContain('damaged')
  })
})
