import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type ExportJob, hasEnded, type JobRecord, type JobResult } from '../../src/service/jobs/job.ts'
import {
  JobCancelled,
  type JobContext,
  JobFailure,
  type JobQueue,
  type JobRunner,
  ServiceCode,
  type Submission,
} from '../../src/service/jobs/queue.ts'

export interface QueueLimits {
  /** Jobs that run at once. */
  readonly concurrency?: number
  /** Unfinished jobs that are taken at most. */
  readonly mostUnfinished?: number
}

/** Storage of one test's own, on which queues are opened one after the other. */
export interface QueueStorage {
  open(run: JobRunner, limits?: QueueLimits): Promise<JobQueue>
  remove(): Promise<void>
}

const RESULT: JobResult = { location: 's3://exports/a.vhd', size: 4096, crc32c: '01234567' }

/** A job like no other, but for what is given. */
export function someJob(more: Partial<ExportJob> = {}): ExportJob {
  const id = randomBytes(16).toString('hex')
  const createdAt = new Date().toISOString()
  const image = { id: `image-${id}`, name: 'an image' }
  return { id, project: 'p1', image, bucket: 'exports', key: `${id}.vhd`, format: 'vhd', createdAt, ...more }
}

/** Holds every run until it is let go; one that is aborted takes a moment to clean up, then rejects. */
class Stage {
  readonly begun: { readonly job: ExportJob; readonly context: JobContext; readonly end: (error?: unknown) => void }[] =
    []
  running = 0
  most = 0

  readonly run: JobRunner = async (job, context) => {
    this.running += 1
    this.most = Math.max(this.most, this.running)
    try {
      return await this.#hold(job, context)
    } finally {
      this.running -= 1
    }
  }

  async #hold(job: ExportJob, context: JobContext): Promise<JobResult> {
    const ended = new Promise<void>((resolve, reject) => {
      this.begun.push({ job, context, end: (error) => (error === undefined ? resolve() : reject(error)) })
    })
    const aborted = once(context.signal, 'abort')
    await Promise.race([ended, aborted])
    if (context.signal.aborted) await sleep(30)
    context.signal.throwIfAborted()
    return RESULT
  }

  async hasBegun(count: number): Promise<void> {
    await expect.poll(() => this.begun.length, { timeout: 30_000, interval: 5 }).toBe(count)
  }

  get last() {
    return this.begun.at(-1) as (typeof this.begun)[number]
  }
}

async function accepted(submission: Promise<Submission>): Promise<JobRecord> {
  const answer = await submission
  if (answer.kind !== 'accepted') throw new Error(`the job was not accepted: ${answer.kind}`)
  return answer.job
}

async function ended(queue: JobQueue, { id }: { id: string }): Promise<JobRecord> {
  for await (const job of queue.watch(id, AbortSignal.timeout(60_000))) if (hasEnded(job)) return job
  throw new Error(`watching the job ${id} was over before it had ended`)
}

const instant: JobRunner = async () => RESULT

/** What every queue has to do. `fresh` gives empty storage. */
export function describeJobQueue(name: string, fresh: () => Promise<QueueStorage>): void {
  describe(name, () => {
    let storage: QueueStorage
    const opened: JobQueue[] = []
    const open = async (run: JobRunner, limits?: QueueLimits) => {
      const queue = await storage.open(run, limits)
      opened.push(queue)
      return queue
    }
    const staged = async (limits?: QueueLimits) => {
      const stage = new Stage()
      return { stage, queue: await open(stage.run, limits) }
    }
    beforeEach(async () => {
      storage = await fresh()
    })
    afterEach(async () => {
      for (const queue of opened.splice(0)) await queue.close({ graceMs: 0 })
      await storage.remove()
    })

    describe('running a job', () => {
      it('keeps what it was given, and what the runner gave', async () => {
        const queue = await open(instant)
        const job = someJob()
        expect(await accepted(queue.submit(job))).toMatchObject({ ...job, attempts: expect.any(Number) })
        const done = await ended(queue, job)
        expect(done).toMatchObject({ ...job, state: 'SUCCESS', attempts: 1, result: RESULT })
        expect(Date.parse(done.endedAt ?? '')).toBeGreaterThanOrEqual(Date.parse(job.createdAt))
        expect(done.error).toBeUndefined()
        expect(await queue.find(job.id)).toEqual(done)
      })

      it('keeps code and reason of one that fails', async () => {
        const queue = await open(async () => {
          throw new JobFailure('IMG.0144', 'the image is gone')
        })
        const job = someJob()
        await accepted(queue.submit(job))
        const done = await ended(queue, job)
        expect(done).toMatchObject({ state: 'FAIL', error: { code: 'IMG.0144', reason: 'the image is gone' } })
        expect(done.result).toBeUndefined()
      })

      it('calls what was not foreseen an unknown error, and does not tell it to callers', async () => {
        const queue = await open(async () => {
          throw new TypeError('/secret/path')
        })
        const job = someJob()
        await accepted(queue.submit(job))
        const { error } = await ended(queue, job)
        expect(error?.code).toBe('IMG.0061')
        expect(error?.reason).not.toContain('secret')
      })

      it('shows its progress', async () => {
        const { stage, queue } = await staged()
        const job = someJob()
        await accepted(queue.submit(job))
        await stage.hasBegun(1)
        stage.last.context.report({ percent: 0.4, task: 'converting' })
        await expect
          .poll(() => queue.find(job.id), { timeout: 30_000 })
          .toMatchObject({ state: 'RUNNING', progress: { percent: 0.4, task: 'converting' } })
        stage.last.end()
        expect((await ended(queue, job)).progress.percent).toBe(1)
      })

      it('shows each change to whoever watches, in order, and ends with the job', async () => {
        const { stage, queue } = await staged()
        const job = someJob()
        await accepted(queue.submit(job))
        await stage.hasBegun(1)
        const seen: JobRecord[] = []
        for await (const record of queue.watch(job.id, AbortSignal.timeout(60_000))) {
          seen.push(record)
          if (seen.length === 1) stage.last.context.report({ percent: 0.5, task: 'converting' })
          if (record.progress.percent === 0.5) stage.last.end()
        }
        expect(seen.at(-1)?.state).toBe('SUCCESS')
        const percents = seen.map(({ progress }) => progress.percent)
        expect(percents).toContain(0.5)
        expect(percents).toEqual([...percents].sort((a, b) => a - b))
      })

      it('lets go of whoever watches no more', async () => {
        const { stage, queue } = await staged()
        const job = someJob()
        await accepted(queue.submit(job))
        await stage.hasBegun(1)
        const watcher = new AbortController()
        let seen = 0
        for await (const _ of queue.watch(job.id, watcher.signal)) {
          seen += 1
          watcher.abort()
        }
        expect(seen).toBe(1)
      })

      it('runs no more at once than it may, and all in the end', async () => {
        const { stage, queue } = await staged({ concurrency: 3 })
        const jobs = Array.from({ length: 12 }, () => someJob())
        for (const job of jobs) await accepted(queue.submit(job))
        for (let begun = 3; begun <= jobs.length; begun += 3) {
          await stage.hasBegun(begun)
          for (const { end } of stage.begun.slice(-3)) end()
        }
        for (const job of jobs) expect((await ended(queue, job)).state).toBe('SUCCESS')
        expect(stage.most).toBe(3)
        expect(await queue.counts()).toEqual({ waiting: 0, running: 0 })
      })
    })

    describe('claims', () => {
      it('keep an image for one job until that has ended', async () => {
        const { stage, queue } = await staged()
        const job = someJob()
        await accepted(queue.submit(job))
        await stage.hasBegun(1)
        expect(await queue.submit(someJob({ image: job.image }))).toEqual({ kind: 'image-claimed' })
        const target = `${job.bucket}:${job.key}`
        expect(await queue.claimed({ image: job.image.id, target })).toEqual({ image: true, target: true })
        stage.last.end()
        await ended(queue, job)
        expect(await queue.claimed({ image: job.image.id, target })).toEqual({ image: false, target: false })
        await accepted(queue.submit(someJob({ image: job.image })))
      })

      it('keep an object for one job', async () => {
        const { queue } = await staged()
        const job = someJob()
        await accepted(queue.submit(job))
        expect(await queue.submit(someJob({ key: job.key }))).toEqual({ kind: 'target-claimed' })
        await accepted(queue.submit(someJob({ key: job.key, bucket: 'another' })))
      })

      it('go to exactly one of many that ask at once', async () => {
        const { queue } = await staged()
        const { image } = someJob()
        const answers = await Promise.all(Array.from({ length: 8 }, () => queue.submit(someJob({ image }))))
        const kinds = answers.map(({ kind }) => kind).sort()
        expect(kinds).toEqual(['accepted', ...Array.from({ length: 7 }, () => 'image-claimed')])
      })

      it('of a job that failed are free again', async () => {
        const queue = await open(async () => {
          throw new JobFailure('IMG.0061', 'no')
        })
        const job = someJob()
        await accepted(queue.submit(job))
        await ended(queue, job)
        await accepted(queue.submit(someJob({ image: job.image, key: job.key })))
      })
    })

    describe('an idempotency key', () => {
      it('gives the same job for the same request, also at once, also when it has ended', async () => {
        const { stage, queue } = await staged()
        const ask = () => someJob({ idempotencyKey: 'k', image: { id: 'i', name: 'n' }, key: 'a.vhd' })
        const answers = await Promise.all([queue.submit(ask()), queue.submit(ask())])
        expect(answers.map(({ kind }) => kind).sort()).toEqual(['accepted', 'known'])
        const [first, second] = answers.map((answer) => ('job' in answer ? answer.job.id : undefined))
        expect(second).toBe(first)
        await stage.hasBegun(1)
        stage.last.end()
        await ended(queue, { id: first as string })
        expect(await queue.submit(ask())).toMatchObject({ kind: 'known', job: { id: first, state: 'SUCCESS' } })
        expect(await queue.findByKey('p1', 'k')).toMatchObject({ id: first })
        expect(stage.begun).toHaveLength(1)
      })

      it('does not stand for another request', async () => {
        const { queue } = await staged()
        await accepted(queue.submit(someJob({ idempotencyKey: 'k' })))
        expect(await queue.submit(someJob({ idempotencyKey: 'k' }))).toEqual({ kind: 'key-reused' })
      })

      it('is each project’s own', async () => {
        const { queue } = await staged()
        await accepted(queue.submit(someJob({ idempotencyKey: 'k' })))
        expect(await queue.findByKey('p2', 'k')).toBeUndefined()
        await accepted(queue.submit(someJob({ idempotencyKey: 'k', project: 'p2' })))
      })
    })

    describe('cancelling', () => {
      it('ends a job that runs when it has cleaned up, and frees its claims only then', async () => {
        const { stage, queue } = await staged()
        const job = someJob()
        await accepted(queue.submit(job))
        await stage.hasBegun(1)
        expect(await queue.cancel(job.id)).toMatchObject({ id: job.id })
        const done = await ended(queue, job)
        expect(done).toMatchObject({ state: 'FAIL', error: { code: ServiceCode.cancelled } })
        expect(stage.last.context.signal.reason).toBeInstanceOf(JobCancelled)
        expect(stage.running).toBe(0)
        await accepted(queue.submit(someJob({ image: job.image })))
      })

      it('ends a job that waits, which is then never run', async () => {
        const { stage, queue } = await staged({ concurrency: 1 })
        await accepted(queue.submit(someJob()))
        await stage.hasBegun(1)
        const waiting = someJob()
        await accepted(queue.submit(waiting))
        await queue.cancel(waiting.id)
        expect(await ended(queue, waiting)).toMatchObject({ state: 'FAIL', attempts: 0 })
        const next = someJob()
        await accepted(queue.submit(next))
        stage.last.end()
        await stage.hasBegun(2)
        expect(stage.last.job.id).toBe(next.id)
      })

      it('leaves a job that has ended as it is, and knows no strangers', async () => {
        const queue = await open(instant)
        const job = someJob()
        await accepted(queue.submit(job))
        const done = await ended(queue, job)
        expect(await queue.cancel(job.id)).toEqual(done)
        expect(await queue.cancel('0'.repeat(32))).toBeUndefined()
        expect(await queue.find('0'.repeat(32))).toBeUndefined()
      })
    })

    it('lists a project’s own jobs, the newest first', async () => {
      const queue = await open(instant)
      const jobs = Array.from({ length: 4 }, (_, i) => someJob({ createdAt: new Date(1e12 + i * 1000).toISOString() }))
      for (const job of jobs) await accepted(queue.submit(job))
      await accepted(queue.submit(someJob({ project: 'p2' })))
      const ids = jobs.map(({ id }) => id).reverse()
      expect((await queue.list('p1', { limit: 10 })).map(({ id }) => id)).toEqual(ids)
      expect((await queue.list('p1', { limit: 2 })).map(({ id }) => id)).toEqual(ids.slice(0, 2))
      expect(await queue.list('p3', { limit: 10 })).toEqual([])
    })

    it('takes no more jobs than it may', async () => {
      const { stage, queue } = await staged({ concurrency: 1, mostUnfinished: 2 })
      await accepted(queue.submit(someJob()))
      await stage.hasBegun(1)
      await accepted(queue.submit(someJob()))
      expect(await queue.counts()).toEqual({ waiting: 1, running: 1 })
      expect(await queue.submit(someJob())).toEqual({ kind: 'too-many' })
      stage.last.end()
      await stage.hasBegun(2)
      await expect.poll(() => queue.submit(someJob()), { timeout: 30_000 }).toMatchObject({ kind: 'accepted' })
    })

    describe('closing', () => {
      it('lets a job that runs come to its end', async () => {
        const { stage, queue } = await staged()
        const job = someJob()
        await accepted(queue.submit(job))
        await stage.hasBegun(1)
        setTimeout(() => stage.last.end(), 50)
        await queue.close({ graceMs: 30_000 })
        const again = await open(instant)
        expect(await again.find(job.id)).toMatchObject({ state: 'SUCCESS', attempts: 1 })
      })

      it('stops a job that takes too long, and runs it again when it is opened again', async () => {
        const { stage, queue } = await staged({ concurrency: 1 })
        const [running, waiting] = [someJob(), someJob()]
        await accepted(queue.submit(running))
        await stage.hasBegun(1)
        await accepted(queue.submit(waiting))
        await queue.close({ graceMs: 0 })
        expect(stage.running).toBe(0)
        expect(await queue.submit(someJob())).toEqual({ kind: 'closed' })
        await expect(queue.assertReady()).rejects.toThrow()

        const again = await staged()
        await again.stage.hasBegun(2)
        const attempts = new Map(again.stage.begun.map(({ job, context }) => [job.id, context.attempt]))
        expect(attempts).toEqual(new Map([[running.id, 2], [waiting.id, 1]])) // biome-ignore format: a table
        expect(await again.queue.submit(someJob({ image: running.image }))).toEqual({ kind: 'image-claimed' })
        for (const { end } of again.stage.begun) end()
        expect((await ended(again.queue, running)).state).toBe('SUCCESS')
        expect((await ended(again.queue, waiting)).state).toBe('SUCCESS')
      })

      it('forgets nothing', async () => {
        const queue = await open(instant)
        await queue.assertReady()
        const job = someJob({ idempotencyKey: 'k' })
        await accepted(queue.submit(job))
        const done = await ended(queue, job)
        await queue.close()
        const again = await open(instant)
        expect(await again.find(job.id)).toEqual(done)
        expect(await again.findByKey('p1', 'k')).toEqual(done)
        expect(await again.list('p1', { limit: 10 })).toEqual([done])
      })
    })
  })
}
