import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { beforeAll, expect, it } from 'vitest'
import { addImage } from './support/image-folder.ts'
import { noise } from './support/pattern.ts'
import { differenceOf } from './support/qemu.ts'
import { runCli } from './support/run-node.ts'
import { testBucket } from './support/s3-bucket.ts'
import { type LogLine, serviceProcesses } from './support/service-process.ts'
import { tempFolder } from './support/temp-folder.ts'

const MiB = 2 ** 20
const path = tempFolder()
const bucket = testBucket()
const headers = { 'X-Auth-Token': 'a-token' }
const startProcess = serviceProcesses()

beforeAll(async () => {
  const sha256 = createHash('sha256').update('a-token').digest('hex')
  await writeFile(path('tokens.json'), JSON.stringify([{ sha256, project: 'p1', roles: ['te_admin'] }]))
  await writeFile(path('config.json'), JSON.stringify({ port: 0, threads: 1, concurrency: 1, graceSeconds: 0 }))
  await writeFile(path('disk.raw'), noise(9, 64 * MiB))
  await addImage(path('images'), 'one', path('disk.raw'))
  await addImage(path('images'), 'two', path('disk.raw'))
})

const start = () => startProcess(['serve', '--config', path('config.json')], bucket.environment())

async function submit(address: string, image: string): Promise<string> {
  const body = JSON.stringify({ bucket_url: `${bucket.name}:${image}.vhd`, file_format: 'vhd' })
  const answer = await fetch(`${address}/v1/cloudimages/${image}/file`, { method: 'POST', headers, body })
  const { job_id } = (await answer.json()) as { job_id: string }
  expect(answer.status).toBe(200)
  return job_id
}

async function statusOf(address: string, job: string): Promise<string> {
  const answer = await fetch(`${address}/v1/p1/jobs/${job}`, { headers })
  return ((await answer.json()) as { status: string }).status
}

it('goes on with its jobs after it was killed, and after it was told to end', async () => {
  const first = await start()
  const one = await submit(first.address, 'one')
  await expect.poll(() => bucket.openUploads(), { timeout: 60_000, interval: 20 }).toEqual(['one.vhd'])
  first.child.kill('SIGKILL')
  await once(first.child, 'exit')

  const second = await start()
  const two = await submit(second.address, 'two')
  await expect.poll(() => statusOf(second.address, one), { timeout: 60_000 }).toBe('SUCCESS')
  await expect.poll(() => bucket.openUploads(), { timeout: 60_000, interval: 20 }).toContain('two.vhd')
  expect(await second.terminate()).toEqual([0, null])
  expect(second.log.at(-1)?.msg).toBe('stopped')
  expect(await bucket.openUploads()).not.toContain('two.vhd')

  const third = await start()
  await expect.poll(() => statusOf(third.address, two), { timeout: 60_000 }).toBe('SUCCESS')
  expect(await statusOf(third.address, one)).toBe('SUCCESS')
  const attempts = (log: LogLine[], job: string) =>
    log.filter((line) => line.job === job && line.msg === 'export begun')
  expect(attempts(second.log, one)).toMatchObject([{ attempt: 2 }])
  expect(attempts(third.log, two)).toMatchObject([{ attempt: 2 }])
  for (const image of ['one', 'two']) {
    await writeFile(path(`${image}.vhd`), await bucket.get(`${image}.vhd`))
    expect(await differenceOf([path('disk.raw'), 'raw'], [path(`${image}.vhd`), 'vpc'])).toBeUndefined()
  }
  expect(await third.terminate()).toEqual([0, null])
})

it('says what is wrong with its configuration', async () => {
  const { code, stderr } = await runCli(['serve', '--config', path('nosuch.json')])
  expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining('nosuch.json') })
})
