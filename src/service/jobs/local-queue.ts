import { setTimeout as sleep } from 'node:timers/promises'
import { DiskferryError } from '../../bytes/errors.ts'
import { Changes } from './changes.ts'
import { asksTheSame, claimsOf, type ExportJob, hasEnded, type JobRecord, newRecord } from './job.ts'
import { JobTable } from './job-table.ts'
import { type Journal, noJournal, openJournal } from './journal.ts'
import { errorOf, JobCancelled, JobInterrupted, type JobQueue, type JobRunner, type Submission } from './queue.ts'

export interface LocalQueueOptions {
  readonly run: JobRunner
  /** Jobs that run at once. Default 2. */
  readonly concurrency?: number | undefined
  /** Unfinished jobs that are taken at most. Default 1000. */
  readonly mostUnfinished?: number | undefined
  /** A file that the jobs are kept in, so that a restart goes on with them. Without it they are forgotten. */
  readonly journal?: string | undefined
  /** Finished jobs that are remembered. Default 10,000. */
  readonly keep?: number | undefined
  /** Told of what went wrong with the queue itself. */
  readonly onError?: ((error: unknown) => void) | undefined
}

/** A queue that runs its jobs in this process, in the order of their coming. */
export async function openLocalQueue(options: LocalQueueOptions): Promise<JobQueue> {
  const { journal: path, keep = 10_000 } = options
  if (path === undefined) return new LocalQueue(options, noJournal, [], keep)
  const { journal, records } = await openJournal(path, keep)
  return new LocalQueue(options, journal, records, keep)
}

class LocalQueue implements JobQueue {
  readonly #options: LocalQueueOptions
  readonly #journal: Journal
  readonly #table: JobTable
  readonly #changes = new Changes()
  readonly #waiting = new Set<string>()
  readonly #running = new Map<string, { readonly abort: AbortController; readonly done: Promise<void> }>()
  #closed = false
  #closing: Promise<void> | undefined

  constructor(options: LocalQueueOptions, journal: Journal, records: readonly JobRecord[], keep: number) {
    this.#options = options
    this.#journal = journal
    this.#table = new JobTable(keep)
    for (const record of records) this.#table.set(record)
    // What ran when the process ended is begun again, as a further attempt.
    for (const record of records.filter((job) => !hasEnded(job))) this.#wait(record)
    this.#next()
  }

  async submit(job: ExportJob): Promise<Submission> {
    const refusal = this.#refusal(job)
    if (refusal !== undefined) return refusal
    const record = newRecord(job)
    this.#table.set(record)
    try {
      await this.#journal.write(record)
    } catch (error) {
      this.#table.remove(record)
      throw error
    }
    if (!this.#isOver(record)) this.#waiting.add(job.id)
    this.#next()
    return { kind: 'accepted', job: record }
  }

  #refusal(job: ExportJob): Submission | undefined {
    const { project, idempotencyKey } = job
    const known = idempotencyKey === undefined ? undefined : this.#table.byKey(project, idempotencyKey)
    if (known !== undefined) return asksTheSame(known, job) ? { kind: 'known', job: known } : { kind: 'key-reused' }
    if (this.#closed) return { kind: 'closed' }
    const { image, target } = this.#table.claimed(claimsOf(job))
    if (image) return { kind: 'image-claimed' }
    if (target) return { kind: 'target-claimed' }
    const { mostUnfinished = 1000 } = this.#options
    return this.#waiting.size + this.#running.size >= mostUnfinished ? { kind: 'too-many' } : undefined
  }

  #isOver({ id }: JobRecord): boolean {
    const now = this.#table.get(id)
    return now === undefined || hasEnded(now)
  }

  #wait(record: JobRecord): void {
    this.#table.set({ ...record, state: 'INIT', progress: { percent: 0, task: 'waiting' } })
    this.#waiting.add(record.id)
  }

  #next(): void {
    const { concurrency = 2 } = this.#options
    for (const id of this.#waiting) {
      if (this.#closed || this.#running.size >= concurrency) return
      this.#waiting.delete(id)
      const abort = new AbortController()
      this.#running.set(id, { abort, done: this.#run(id, abort.signal).finally(() => this.#ended(id)) })
    }
  }

  #ended(id: string): void {
    this.#running.delete(id)
    this.#next()
  }

  async #run(id: string, signal: AbortSignal): Promise<void> {
    const before = this.#table.get(id) as JobRecord
    const attempts = before.attempts + 1
    const begun: JobRecord = { ...before, state: 'RUNNING', attempts, progress: { percent: 0, task: 'starting' } }
    try {
      await this.#record(begun)
      signal.throwIfAborted()
      const result = await this.#options.run(begun, { attempt: attempts, signal, report: this.#reporter(id) })
      await this.#end(id, { state: 'SUCCESS', result, progress: { percent: 1, task: 'done' } })
    } catch (error) {
      if (signal.reason instanceof JobInterrupted) return this.#putBack(id)
      await this.#end(id, { state: 'FAIL', error: errorOf(error) })
    }
  }

  /** Progress is for people who look: it is not worth a write to the disk. */
  #reporter(id: string) {
    return (progress: JobRecord['progress']) => {
      const record = this.#table.get(id)
      if (record?.state !== 'RUNNING' || progress.percent < record.progress.percent) return
      this.#show({ ...record, progress })
    }
  }

  async #end(id: string, outcome: Partial<JobRecord>): Promise<void> {
    const record = this.#table.get(id) as JobRecord
    await this.#record({ ...record, ...outcome, endedAt: new Date().toISOString() })
  }

  #putBack(id: string): void {
    const record = this.#table.get(id) as JobRecord
    this.#show({ ...record, state: 'INIT' })
  }

  /** A journal that can't be written does not change what became of a job. */
  async #record(record: JobRecord): Promise<void> {
    await this.#journal.write(record).catch((error) => this.#options.onError?.(error))
    this.#show(record)
  }

  #show(record: JobRecord): void {
    this.#table.set(record)
    this.#changes.tell(record)
  }

  async find(jobId: string): Promise<JobRecord | undefined> {
    return this.#table.get(jobId)
  }

  async findByKey(project: string, idempotencyKey: string): Promise<JobRecord | undefined> {
    return this.#table.byKey(project, idempotencyKey)
  }

  async claimed(claims: { image: string; target: string }): Promise<{ image: boolean; target: boolean }> {
    return this.#table.claimed(claims)
  }

  async list(project: string, { limit }: { limit: number }): Promise<JobRecord[]> {
    return this.#table.ofProject(project).slice(0, limit)
  }

  async cancel(jobId: string): Promise<JobRecord | undefined> {
    const record = this.#table.get(jobId)
    if (record === undefined || hasEnded(record)) return record
    this.#waiting.delete(jobId)
    const running = this.#running.get(jobId)
    if (running === undefined) await this.#end(jobId, { state: 'FAIL', error: errorOf(new JobCancelled()) })
    else running.abort.abort(new JobCancelled())
    return this.#table.get(jobId)
  }

  watch(jobId: string, signal?: AbortSignal): AsyncIterable<JobRecord> {
    return this.#changes.watch(jobId, () => this.find(jobId), signal)
  }

  async counts(): Promise<{ waiting: number; running: number }> {
    return { waiting: this.#waiting.size, running: this.#running.size }
  }

  async assertReady(): Promise<void> {
    if (this.#closed) throw new DiskferryError('usage', 'the queue is closed')
  }

  close({ graceMs = 0 }: { graceMs?: number } = {}): Promise<void> {
    this.#closed = true
    this.#closing ??= this.#close(graceMs)
    return this.#closing
  }

  async #close(graceMs: number): Promise<void> {
    const all = () => Promise.all([...this.#running.values()].map(({ done }) => done))
    const grace = new AbortController()
    await Promise.race([all(), sleep(graceMs, undefined, { signal: grace.signal }).catch(() => undefined)])
    grace.abort()
    for (const { abort } of this.#running.values()) abort.abort(new JobInterrupted())
    await all()
    await this.#journal.close()
  }
}
