import { DiskferryError } from '../../bytes/errors.ts'
import { createPool } from '../../pipeline/pool.ts'
import { folderCatalog } from '../embedded/folder-catalog.ts'
import { s3Targets } from '../embedded/s3-targets.ts'
import { createApp } from '../http/app.ts'
import { serveOperation } from '../http/operation-routes.ts'
import type { JobQueue } from '../jobs/queue.ts'
import type { Log } from '../log.ts'
import { Metrics } from '../metrics.ts'
import type { Config } from './config.ts'
import { type Listener, listen, parseAddress } from './listen.ts'
import { openQueue } from './open-queue.ts'

export interface RunningWorker {
  /** Where it answers health, readiness and metrics, when it was told to. */
  readonly address: string | undefined
  /** Takes no further job, lets exports end while there is time, and hands back the rest. */
  stop(): Promise<void>
}

/**
 * Runs a fleet's exports in this process.
 * @throws DiskferryError `usage` for a configuration that names no fleet, or no work
 */
export async function work(config: Config, log: Log): Promise<RunningWorker> {
  assertWorks(config)
  const metrics = new Metrics()
  const ending = new AbortController()
  const pool = createPool({ threads: config.threads })
  const closers: (() => Promise<void>)[] = [() => pool.close()]
  const close = async () => {
    for (const closer of closers.splice(0).reverse()) await closer()
  }
  try {
    const seams = { catalog: folderCatalog(config.images), targets: s3Targets({ buckets: config.buckets }) }
    const queue = await openQueue(config, { ...seams, pool, log, metrics })
    closers.push(() => queue.close())
    metrics.watch(queue)
    const listener = await listenAsAsked(config, { queue, metrics, log, ending: ending.signal })
    if (listener !== undefined) closers.push(() => listener.close())
    const stop = async () => {
      ending.abort()
      // What it does until it has ended can still be asked for.
      await queue.close({ graceMs: config.graceSeconds * 1000 })
      await close()
    }
    return { address: listener?.address, stop }
  } catch (error) {
    await close()
    throw error
  }
}

interface Operated {
  readonly queue: JobQueue
  readonly metrics: Metrics
  readonly log: Log
  readonly ending: AbortSignal
}

async function listenAsAsked({ workerListen, limits }: Config, parts: Operated): Promise<Listener | undefined> {
  if (workerListen === undefined) return undefined
  const app = createApp(parts)
  serveOperation(app, parts)
  return listen(async (request) => app.fetch(request), parseAddress(workerListen), limits)
}

function assertWorks({ redis, concurrency }: Config): void {
  const hint = 'give --redis, DISKFERRY_REDIS, or "redis" in the configuration'
  if (redis === undefined) throw new DiskferryError('usage', 'a worker needs the Redis of its fleet', { hint })
  if (concurrency === 0) throw new DiskferryError('usage', 'a worker whose concurrency is 0 does nothing')
}
