import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type FleetQueueOptions, openFleetQueue } from '../src/service/fleet/fleet-queue.ts'
import type { JobRecord } from '../src/service/jobs/job.ts'
import { JobFailure, type JobQueue, type JobRunner, ServiceCode } from '../src/service/jobs/queue.ts'
import { describeJobQueue, someJob } from './support/job-queue-suite.ts'
import { type RedisServer, startRedis } from './support/redis-server.ts'

const LOCK_MS = 2000

let redis: RedisServer
beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis.stop())

describeJobQueue('the queue of a fleet', async () => {
  const name = randomUUID()
  return {
    open: (run, limits) => openFleetQueue({ redis: redis.url, name, run, lockMs: LOCK_MS, ...limits }),
    remove: async () => undefined,
  }
})

describe('a fleet', () => {
  const opened: JobQueue[] = []
  afterEach(async () => {
    for (const queue of opened.splice(0)) await queue.close()
  })

  /** Machines that share one Redis. */
  function fleet() {
    const name = randomUUID()
    return async (run?: JobRunner, options: Partial<FleetQueueOptions> = {}) => {
      const queue = await openFleetQueue({ redis: redis.url, name, run, lockMs: LOCK_MS, backoffMs: 20, ...options })
      opened.push(queue)
      return queue
    }
  }

  async function end(queue: JobQueue, id: string): Promise<JobRecord> {
    let last: JobRecord | undefined
    for await (const job of queue.watch(id, AbortSignal.timeout(60_000))) last = job
    return last as JobRecord
  }

  const done = async () => ({ location: 's3://exports/a', size: 1 })
  const untilAborted: JobRunner = async (_, { signal }) => {
    while (!signal.aborted) await sleep(10)
    throw signal.reason
  }

  it('runs on one machine what was handed in on another, which sees how it goes', async () => {
    const machine = fleet()
    const front = await machine()
    const job = someJob()
    await front.submit(job)
    expect(await front.counts()).toEqual({ waiting: 1, running: 0 })
    await machine(done)
    expect(await end(front, job.id)).toMatchObject({ state: 'SUCCESS', attempts: 1 })
  })

  it('cancels from one machine what runs on another', async () => {
    const machine = fleet()
    const front = await machine()
    await machine(untilAborted)
    const job = someJob()
    await front.submit(job)
    await expect.poll(() => front.find(job.id), { timeout: 30_000 }).toMatchObject({ state: 'RUNNING' })
    await front.cancel(job.id)
    expect(await end(front, job.id)).toMatchObject({ state: 'FAIL', error: { code: ServiceCode.cancelled } })
  })

  it('tries again what may do better, with pauses, and not for ever', async () => {
    const queue = await fleet()(
      async (_, { attempt }) => {
        if (attempt < 3) throw new JobFailure('IMG.0061', 'the store is away', { mayRetry: true })
        return done()
      },
      { mostFailures: 3 },
    )
    const job = someJob()
    await queue.submit(job)
    expect(await end(queue, job.id)).toMatchObject({ state: 'SUCCESS', attempts: 3 })

    const hopeless = await fleet()(
      async () => {
        throw new JobFailure('IMG.0061', 'the store is away', { mayRetry: true })
      },
      { mostFailures: 2 },
    )
    await hopeless.submit(job)
    expect(await end(hopeless, job.id)).toMatchObject({ state: 'FAIL', attempts: 2 })
  })

  it('gives each project its turn, more of them to one with a larger share', async () => {
    const order: string[] = []
    const machine = fleet()
    const front = await machine(undefined, { shareOf: (project) => (project === 'large' ? 2 : 1) })
    for (const [project, count] of [['first', 6], ['second', 3], ['large', 6]] as const) // biome-ignore format: a table
      for (let i = 0; i < count; i++) await front.submit(someJob({ project }))
    await machine(
      async ({ project }) => {
        order.push(project)
        return done()
      },
      { concurrency: 1 },
    )
    await expect.poll(() => order.length, { timeout: 30_000 }).toBe(15)
    const early = order.slice(0, 8)
    const count = (project: string) => early.filter((name) => name === project).length
    expect([count('first'), count('second'), count('large')]).toEqual([2, 2, 4])
  })

  it('takes up a job that was accepted by a process which ended before it could pass it on', async () => {
    const name = randomUUID()
    const client = new Redis(redis.url)
    const front = await openFleetQueue({ redis: redis.url, name })
    opened.push(front)
    const job = someJob()
    await front.submit(job)
    const keys = (await client.keys(`{${name}}:exports:*`)).filter((key) => !key.endsWith(':meta'))
    await client.del(...keys)
    client.disconnect()
    opened.push(await openFleetQueue({ redis: redis.url, name, run: done }))
    expect(await end(front, job.id)).toMatchObject({ state: 'SUCCESS', attempts: 1 })
  })

  it('stops an attempt whose place another took, and keeps what that other found out', async () => {
    const name = randomUUID()
    const client = new Redis(redis.url)
    const started: number[] = []
    const run: JobRunner = async (job, context) => {
      started.push(context.attempt)
      return context.attempt === 1 ? untilAborted(job, context) : { ...(await done()), size: 2 }
    }
    const queue = await openFleetQueue({ redis: redis.url, name, run, lockMs: LOCK_MS })
    opened.push(queue)
    const job = someJob()
    await queue.submit(job)
    await expect.poll(() => started.length, { timeout: 30_000 }).toBe(1)
    await client.del(`{${name}}:exports:${job.id}:lock`)
    expect(await end(queue, job.id)).toMatchObject({ state: 'SUCCESS', attempts: 2, result: { size: 2 } })
    client.disconnect()
  })

  it('is refused where no Redis answers', async () => {
    await expect(openFleetQueue({ redis: 'redis://127.0.0.1:1' })).rejects.toMatchObject({ code: 'usage' })
  })
})
