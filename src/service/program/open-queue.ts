import { DiskferryError } from '../../bytes/errors.ts'
import { openFleetQueue } from '../fleet/fleet-queue.ts'
import { openLocalQueue } from '../jobs/local-queue.ts'
import { logging } from '../jobs/logging.ts'
import type { JobQueue, JobRunner } from '../jobs/queue.ts'
import { exportRunner, type RunnerOptions } from '../jobs/run-export.ts'
import type { Log } from '../log.ts'
import type { Metrics } from '../metrics.ts'
import type { Config } from './config.ts'

export interface QueueParts extends RunnerOptions {
  readonly log: Log
  readonly metrics: Metrics
}

/**
 * The queue that a configuration asks for, running its exports in this process.
 * @throws DiskferryError `usage` for one that would never run any
 */
export function openQueue(config: Config, parts: QueueParts): Promise<JobQueue> {
  const { log, metrics } = parts
  const run = metrics.counting(logging(exportRunner(parts), log))
  const onError = (error: unknown) => log.error({ err: error }, 'the queue has trouble')
  return config.redis === undefined
    ? openOwn(config, run, onError)
    : openFleet({ ...config, redis: config.redis }, run, onError)
}

async function openOwn(config: Config, run: JobRunner, onError: (error: unknown) => void): Promise<JobQueue> {
  const { concurrency, mostUnfinished, journal } = config
  if (concurrency > 0) return openLocalQueue({ run, concurrency, mostUnfinished, journal, onError })
  throw new DiskferryError('usage', 'nothing would run exports: concurrency is 0, and no redis is named', {
    hint: 'raise concurrency, or name the Redis of a fleet',
  })
}

function openFleet(
  { redis, concurrency, mostUnfinished, lockSeconds, shares }: Config & { redis: string },
  run: JobRunner,
  onError: (error: unknown) => void,
): Promise<JobQueue> {
  return openFleetQueue({
    redis,
    run: concurrency > 0 ? run : undefined,
    concurrency,
    mostUnfinished,
    lockMs: lockSeconds * 1000,
    shareOf: (project) => (Object.hasOwn(shares, project) ? (shares[project] ?? 1) : 1),
    onError,
  })
}
