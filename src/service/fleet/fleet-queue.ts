import { setTimeout as sleep } from 'node:timers/promises'
import type { Worker } from 'bullmq'
import { DiskferryError } from '../../bytes/errors.ts'
import { Changes } from '../jobs/changes.ts'
import { asksTheSame, type ExportJob, type JobRecord, newRecord } from '../jobs/job.ts'
import { errorOf, JobCancelled, type JobQueue, type JobRunner, type Submission } from '../jobs/queue.ts'
import { answerOf, type Connections, connect } from './connections.ts'
import { type Dispatch, openDispatch, openWorker, QUEUE } from './dispatch.ts'
import { Runs } from './runs.ts'
import { JobStore } from './store.ts'

export interface FleetQueueOptions {
  /** `redis://host:6379`. */
  readonly redis: string
  /** Runs jobs in this process. Without it jobs are only handed in and looked at; workers elsewhere run them. */
  readonly run?: JobRunner | undefined
  /** Jobs that run at once in this process. Default 2. */
  readonly concurrency?: number | undefined
  /** Unfinished jobs of the whole fleet that are taken at most. Default 10,000. */
  readonly mostUnfinished?: number | undefined
  /** Finished jobs that are remembered. Default 100,000. */
  readonly keep?: number | undefined
  /** How many turns a project gets for each one of others that wait, 1 to 8. Default 1. */
  readonly shareOf?: ((project: string) => number) | undefined
  /** A worker that was not heard of for so long has lost its jobs. Default 30 s. */
  readonly lockMs?: number | undefined
  /** Attempts that may fail, where another may do better. Default 3. */
  readonly mostFailures?: number | undefined
  /** Pause before the second attempt, doubled for each further one. Default 5 s. */
  readonly backoffMs?: number | undefined
  /** Workers that a job may lose before it is given up. Default 5. */
  readonly mostLost?: number | undefined
  /** Several fleets on one Redis have a name each. Default `diskferry`. */
  readonly name?: string | undefined
  /** Told of what went wrong with the queue itself, and with attempts that will be made again. */
  readonly onError?: ((error: unknown) => void) | undefined
}

/** What a turn costs; a share divides it. */
const STEP = 8
/** What is left of a worker that Redis keeps from closing is given up after this. */
const CLOSE_MS = 10_000

/**
 * A queue for any number of processes on any number of machines, on BullMQ and Redis.
 * @throws DiskferryError `usage` when Redis does not answer
 */
export async function openFleetQueue(options: FleetQueueOptions): Promise<JobQueue> {
  const { redis, name = 'diskferry', onError = () => undefined } = options
  const connections = await connect(redis, onError)
  // Braces: where Redis is a cluster, all keys lie on one of its nodes.
  const dispatch = { connections, prefix: `{${name}}`, onError }
  return FleetQueue.open({ ...options, onError }, { ...dispatch, queue: await openDispatch(dispatch) })
}

interface Parts {
  readonly connections: Connections
  readonly prefix: string
  readonly onError: (error: unknown) => void
  readonly queue: Dispatch
}

class FleetQueue implements JobQueue {
  readonly #options: FleetQueueOptions
  readonly #parts: Parts
  readonly #store: JobStore
  readonly #changes = new Changes()
  #runs: Runs | undefined
  #worker: Worker | undefined
  #sweeper: NodeJS.Timeout | undefined
  #closing: Promise<void> | undefined

  private constructor(options: FleetQueueOptions, parts: Parts) {
    this.#options = options
    this.#parts = parts
    this.#store = new JobStore(parts.connections.brisk, parts.prefix, options.keep ?? 100_000)
  }

  static async open(options: FleetQueueOptions, parts: Parts): Promise<FleetQueue> {
    const queue = new FleetQueue(options, parts)
    await queue.#listen()
    await queue.#adoptOrphans()
    queue.#sweeper = setInterval(() => void queue.#adoptOrphans(), options.lockMs ?? 30_000)
    if (options.run !== undefined) await queue.#work(options.run)
    return queue
  }

  async #listen(): Promise<void> {
    const { connections, prefix } = this.#parts
    const { subscriber } = connections
    const [changed, cancelled] = [`${prefix}:changed`, `${prefix}:cancelled`]
    subscriber.on('message', (channel, id) => {
      if (channel === changed) this.#changes.tell({ id })
      else this.#runs?.cancel(id)
    })
    // What was said while the connection was lost was not heard.
    subscriber.on('ready', () => this.#changes.tellAll())
    await subscriber.subscribe(changed, cancelled)
  }

  async #work(run: JobRunner): Promise<void> {
    const { concurrency = 2, lockMs = 30_000, mostFailures = 3, backoffMs = 5000, mostLost = 5 } = this.#options
    const { connections, prefix, onError } = this.#parts
    const store = new JobStore(connections.patient, prefix, this.#options.keep ?? 100_000)
    const runs = new Runs({ store, run, lockMs, mostFailures, mostLost, onError })
    this.#runs = runs
    const process = (id: string) => runs.process(id)
    this.#worker = await openWorker({ ...this.#parts, concurrency, lockMs, backoffMs, process })
  }

  /** Between a job's acceptance and its way into the queue its process may have ended. */
  async #adoptOrphans(): Promise<void> {
    try {
      for (const [id, tag] of await this.#store.orphans(QUEUE)) await this.#parts.queue.add(id, Number(tag))
    } catch (error) {
      this.#parts.onError(error)
    }
  }

  async submit(job: ExportJob): Promise<Submission> {
    if (this.#closing !== undefined) return { kind: 'closed' }
    const { mostUnfinished = 10_000, shareOf = () => 1 } = this.#options
    const step = Math.max(1, Math.round(STEP / shareOf(job.project)))
    const [kind, detail] = await answerOf(this.#store.submit({ job, mostUnfinished, step }))
    if (kind === 'known') return this.#known(job, detail)
    if (kind !== 'accepted') return { kind } as Submission
    // It is on record: if it can't be passed on now, it will be.
    await this.#parts.queue.add(job.id, Number(detail)).catch(this.#parts.onError)
    return { kind: 'accepted', job: newRecord(job) }
  }

  async #known(job: ExportJob, id: string): Promise<Submission> {
    const known = await this.find(id)
    return known !== undefined && asksTheSame(known, job) ? { kind: 'known', job: known } : { kind: 'key-reused' }
  }

  find(jobId: string): Promise<JobRecord | undefined> {
    return answerOf(this.#store.find(jobId))
  }

  findByKey(project: string, idempotencyKey: string): Promise<JobRecord | undefined> {
    return answerOf(this.#store.findByKey(project, idempotencyKey))
  }

  claimed(claims: { image: string; target: string }): Promise<{ image: boolean; target: boolean }> {
    return answerOf(this.#store.claimed(claims))
  }

  list(project: string, { limit }: { limit: number }): Promise<JobRecord[]> {
    return answerOf(this.#store.list(project, limit))
  }

  async cancel(jobId: string): Promise<JobRecord | undefined> {
    const answer = await answerOf(this.#store.cancel(jobId, errorOf(new JobCancelled())))
    if (answer === 'ended') await this.#parts.queue.remove(jobId).catch(this.#parts.onError)
    return this.find(jobId)
  }

  watch(jobId: string, signal?: AbortSignal): AsyncIterable<JobRecord> {
    let [seen, text]: [JobRecord | undefined, string | undefined] = [undefined, undefined]
    const look = async () => {
      const now = await this.find(jobId)
      if (JSON.stringify(now) === text) return seen
      seen = now
      text = JSON.stringify(now)
      return now
    }
    return this.#changes.watch(jobId, look, signal)
  }

  counts(): Promise<{ waiting: number; running: number }> {
    return answerOf(this.#store.counts())
  }

  async assertReady(): Promise<void> {
    if (this.#closing !== undefined) throw new DiskferryError('usage', 'the queue is closed')
    await answerOf(this.#store.ping())
  }

  close({ graceMs = 0 }: { graceMs?: number } = {}): Promise<void> {
    this.#closing ??= this.#close(graceMs)
    return this.#closing
  }

  async #close(graceMs: number): Promise<void> {
    clearInterval(this.#sweeper)
    const idle = this.#worker?.close() ?? Promise.resolve()
    await within(idle, graceMs)
    this.#runs?.interrupt()
    await within(idle, CLOSE_MS)
    await within(this.#parts.queue.close(), CLOSE_MS)
    this.#parts.connections.close()
  }
}

/** Waits for it, but no longer than that. */
async function within(promise: Promise<unknown>, milliseconds: number): Promise<void> {
  const enough = new AbortController()
  const { signal } = enough
  await Promise.race([promise, sleep(milliseconds, undefined, { signal }).catch(() => undefined)])
  enough.abort()
}
