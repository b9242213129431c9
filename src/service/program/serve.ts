import { createPool, type Pool } from '../../pipeline/pool.ts'
import { folderCatalog } from '../embedded/folder-catalog.ts'
import { s3Targets } from '../embedded/s3-targets.ts'
import { tokenFileAuthenticator } from '../embedded/token-file.ts'
import { createExportService, type ExportService } from '../export-service.ts'
import type { JobQueue } from '../jobs/queue.ts'
import type { Log } from '../log.ts'
import { Metrics } from '../metrics.ts'
import { type Config, policyOf } from './config.ts'
import { type Listener, listen } from './listen.ts'
import { openQueue } from './open-queue.ts'

export interface RunningService {
  /** `http://127.0.0.1:8080` */
  readonly address: string
  /** Takes no more requests, lets exports end while there is time, and stops the rest: they go on at the next start. */
  stop(): Promise<void>
}

/** The whole service in this process: images from a folder, tokens from a file, S3 from the environment. */
export async function serve(config: Config, log: Log): Promise<RunningService> {
  const policy = await policyOf(config)
  const authenticator = await tokenFileAuthenticator(config.tokens)
  const seams = { catalog: folderCatalog(config.images), targets: s3Targets({ buckets: config.buckets }) }
  const metrics = new Metrics()
  const pool = createPool({ threads: config.threads })
  const closers: (() => Promise<void>)[] = [() => pool.close()]
  try {
    const queue = await openQueue(config, { ...seams, pool, log, metrics })
    closers.push(() => queue.close())
    const { limits } = config
    const service = createExportService({ ...seams, authenticator, queue, policy, limits, log, metrics })
    const listener = await listen(service.fetch, config, limits)
    return { address: listener.address, stop: () => stop({ service, listener, queue, pool }, config.graceSeconds) }
  } catch (error) {
    for (const close of closers.reverse()) await close()
    throw error
  }
}

interface Parts {
  readonly service: ExportService
  readonly listener: Listener
  readonly queue: JobQueue
  readonly pool: Pool
}

/** While exports end their jobs can still be asked for. */
async function stop({ service, listener, queue, pool }: Parts, graceSeconds: number): Promise<void> {
  service.end()
  await queue.close({ graceMs: graceSeconds * 1000 })
  await listener.close()
  await pool.close()
}
