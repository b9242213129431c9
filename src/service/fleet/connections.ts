import { once } from 'node:events'
import type { Redis, RedisOptions } from 'ioredis'
import { DiskferryError } from '../../bytes/errors.ts'
import { QueueUnavailable } from '../jobs/queue.ts'

/** Connections to Redis, by how long they wait for it. */
export interface Connections {
  /** For whoever asks over HTTP: rejects within seconds while Redis is away. */
  readonly brisk: Redis
  /** For workers: waits until Redis is back. */
  readonly patient: Redis
  readonly subscriber: Redis
  close(): void
}

const CONNECT_MS = 5000

/** @throws DiskferryError `usage` when Redis does not answer within five seconds */
export async function connect(url: string, onError: (error: unknown) => void): Promise<Connections> {
  const { Redis } = await import('ioredis')
  const make = (options: RedisOptions) => {
    const redis = new Redis(url, { retryStrategy: (times) => Math.min(times * 100, 2000), ...options })
    return redis.on('error', onError)
  }
  const brisk = make({ maxRetriesPerRequest: 3, commandTimeout: 5000 })
  const patient = make({ maxRetriesPerRequest: null })
  const subscriber = make({ maxRetriesPerRequest: null })
  const all = [brisk, patient, subscriber]
  const close = () => {
    for (const redis of all) redis.disconnect()
  }
  try {
    await Promise.all(all.map((redis) => ready(redis)))
    return { brisk, patient, subscriber, close }
  } catch {
    close()
    const { host } = new URL(url)
    const hint = 'check the address, and that Redis runs there'
    throw new DiskferryError('usage', `Redis at ${host} does not answer`, { found: host, hint })
  }
}

/** Not `once` alone: that rejects at the first error, and a server that is just starting gives some. */
async function ready(redis: Redis): Promise<void> {
  const signal = AbortSignal.timeout(CONNECT_MS)
  while (redis.status !== 'ready') {
    signal.throwIfAborted()
    await once(redis, 'ready', { signal }).catch(() => undefined)
  }
}

/** What Redis answers, be it a refusal; that it does not answer is said in the queue's own words. */
export async function answerOf<T>(asked: Promise<T>): Promise<T> {
  try {
    return await asked
  } catch (error) {
    if ((error as Error).name === 'ReplyError') throw error
    throw new QueueUnavailable(error)
  }
}
