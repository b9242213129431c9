import { appendFile, readFile, writeFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { openLocalQueue } from '../src/service/jobs/local-queue.ts'
import type { JobRunner } from '../src/service/jobs/queue.ts'
import { describeJobQueue, someJob } from './support/job-queue-suite.ts'
import { tempFolder } from './support/temp-folder.ts'

const path = tempFolder()
let count = 0
const journalName = () => path(`journal-${count++}.jsonl`)

describeJobQueue('the in-process queue', async () => {
  const journal = journalName()
  return { open: (run, limits) => openLocalQueue({ run, journal, ...limits }), remove: async () => undefined }
})

describe('the journal', () => {
  const run: JobRunner = async ({ bucket, key }) => ({ location: `s3://${bucket}/${key}`, size: 1 })
  const lines = async (file: string) => (await readFile(file, 'utf8')).trimEnd().split('\n')

  async function runJobs(journal: string, number: number, keep?: number): Promise<string[]> {
    const queue = await openLocalQueue({ run, journal, keep })
    const jobs = Array.from({ length: number }, () => someJob())
    for (const job of jobs) {
      await queue.submit(job)
      for await (const _ of queue.watch(job.id));
    }
    await queue.close()
    return jobs.map(({ id }) => id)
  }

  it('leaves out a last line that was cut off, and begins that job’s state anew', async () => {
    const journal = journalName()
    const [id = ''] = await runJobs(journal, 1)
    await appendFile(journal, `{"id":"${id}","sta`)
    const queue = await openLocalQueue({ run, journal })
    expect(await queue.find(id)).toMatchObject({ state: 'SUCCESS' })
    await queue.close()
  })

  it('is refused where a line in it is damaged', async () => {
    const journal = journalName()
    await writeFile(journal, '{"id":"a","state":"INIT"\n')
    await expect(openLocalQueue({ run, journal })).rejects.toMatchObject({ code: 'malformed' })
  })

  it('is written anew with one line a job, and no more jobs than are kept', async () => {
    const journal = journalName()
    const ids = await runJobs(journal, 5)
    expect((await lines(journal)).length).toBeGreaterThan(5)
    const queue = await openLocalQueue({ run, journal, keep: 3 })
    expect((await lines(journal)).length).toBe(3)
    expect(await queue.find(ids[1] as string)).toBeUndefined()
    expect(await queue.find(ids[4] as string)).toMatchObject({ state: 'SUCCESS' })
    await queue.close()
  })

  it('forgets the oldest finished jobs, in memory too', async () => {
    const queue = await openLocalQueue({ run, keep: 2 })
    const jobs = [someJob({ idempotencyKey: 'a' }), someJob(), someJob()]
    for (const job of jobs) {
      await queue.submit(job)
      for await (const _ of queue.watch(job.id));
    }
    expect((await queue.list('p1', { limit: 10 })).length).toBe(2)
    expect(await queue.findByKey('p1', 'a')).toBeUndefined()
    await queue.close()
  })
})
