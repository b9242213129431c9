import type { Redis } from 'ioredis'
import {
  claimsOf,
  type ExportJob,
  type JobError,
  type JobProgress,
  type JobRecord,
  type JobResult,
} from '../jobs/job.ts'
import { type ScriptName, scripts } from './scripts.ts'

/** An attempt as it was begun. */
export interface Begun {
  readonly job: ExportJob
  /** 1 for the first. */
  readonly attempt: number
  /** Attempts whose worker was lost. */
  readonly lost: number
  /** Attempts that failed in a way that may pass. */
  readonly failed: number
  readonly cancelled: boolean
}

export type Outcome =
  | { readonly state: 'SUCCESS'; readonly value: JobResult }
  | { readonly state: 'FAIL'; readonly value: JobError }

export interface Admission {
  readonly job: ExportJob
  readonly mostUnfinished: number
  /** What the project's turn costs: see `scripts.ts`. */
  readonly step: number
}

type Commands = Redis & Record<`diskferry${ScriptName}`, (...args: (string | number)[]) => Promise<unknown>>

/** What became of the jobs of a fleet, in Redis. */
export class JobStore {
  readonly #redis: Commands
  readonly #prefix: string
  readonly #keep: number

  /** Of the jobs that have ended, the newest `keep` are remembered. */
  constructor(redis: Redis, prefix: string, keep: number) {
    for (const [name, lua] of Object.entries(scripts)) redis.defineCommand(`diskferry${name}`, { numberOfKeys: 1, lua })
    this.#redis = redis as Commands
    this.#prefix = prefix
    this.#keep = keep
  }

  #run(name: ScriptName, ...args: (string | number)[]): Promise<unknown> {
    return this.#redis[`diskferry${name}`](this.#prefix, ...args)
  }

  /** The kind of a `Submission`, then the fair tag of a job that was accepted, or the id of a known one. */
  async submit({ job, mostUnfinished, step }: Admission): Promise<[kind: string, detail: string]> {
    const { image, target } = claimsOf(job)
    const key = job.idempotencyKey === undefined ? '' : keyOf(job.project, job.idempotencyKey)
    const created = Date.parse(job.createdAt)
    const answer = await this.#run(
      'SUBMIT',
      job.id,
      JSON.stringify(job),
      image,
      target,
      job.project,
      key,
      created,
      mostUnfinished,
      step,
    )
    return answer as [string, string]
  }

  /** Undefined when the job has ended. */
  async begin(id: string, token: string): Promise<Begun | undefined> {
    const answer = (await this.#run('BEGIN', id, token)) as string[]
    const [kind, job = '', attempt, lost, failed, cancel] = answer
    if (kind !== 'begun') return undefined
    return {
      job: JSON.parse(job) as ExportJob,
      attempt: Number(attempt),
      lost: Number(lost),
      failed: Number(failed),
      cancelled: cancel !== '',
    }
  }

  async beat(id: string, token: string, { percent, task }: JobProgress): Promise<'go' | 'cancel' | 'lost'> {
    return (await this.#run('BEAT', id, token, percent, task)) as 'go' | 'cancel' | 'lost'
  }

  async end(id: string, token: string, { state, value }: Outcome): Promise<void> {
    await this.#run('END', id, token, state, new Date().toISOString(), JSON.stringify(value), this.#keep)
  }

  async putBack(
    id: string,
    token: string,
    { task, failed }: { task: string; failed: boolean },
  ): Promise<'waiting' | 'cancel' | 'lost'> {
    return (await this.#run('PUT_BACK', id, token, task, failed ? 1 : 0)) as 'waiting' | 'cancel' | 'lost'
  }

  /** `ended` when the job waited, `asked` when whoever runs it was told. */
  async cancel(id: string, error: JobError): Promise<'ended' | 'asked' | 'over'> {
    const answer = await this.#run('CANCEL', id, new Date().toISOString(), JSON.stringify(error), this.#keep)
    return answer as 'ended' | 'asked' | 'over'
  }

  /** Ids and fair tags of unfinished jobs that are not in the BullMQ queue `name`. */
  async orphans(name: string): Promise<[id: string, tag: string][]> {
    const flat = (await this.#run('ORPHANS', name)) as string[]
    return Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i] as string, flat[2 * i + 1] as string])
  }

  async find(id: string): Promise<JobRecord | undefined> {
    return recordOf(await this.#redis.hgetall(this.#key(`job:${id}`)))
  }

  async findByKey(project: string, idempotencyKey: string): Promise<JobRecord | undefined> {
    const id = await this.#redis.hget(this.#key('keys'), keyOf(project, idempotencyKey))
    return id === null ? undefined : this.find(id)
  }

  async list(project: string, limit: number): Promise<JobRecord[]> {
    const ids = await this.#redis.zrevrange(this.#key(`project:${project}`), 0, limit - 1)
    const records = await Promise.all(ids.map((id) => this.find(id)))
    return records.filter((record) => record !== undefined)
  }

  async claimed({ image, target }: { image: string; target: string }): Promise<{ image: boolean; target: boolean }> {
    const [byImage, byTarget] = await Promise.all([
      this.#redis.hexists(this.#key('images'), image),
      this.#redis.hexists(this.#key('targets'), target),
    ])
    return { image: byImage === 1, target: byTarget === 1 }
  }

  async counts(): Promise<{ waiting: number; running: number }> {
    const [unfinished, running] = await Promise.all([
      this.#redis.scard(this.#key('unfinished')),
      this.#redis.scard(this.#key('running')),
    ])
    return { waiting: Math.max(0, unfinished - running), running }
  }

  async ping(): Promise<void> {
    await this.#redis.ping()
  }

  #key(name: string): string {
    return `${this.#prefix}:${name}`
  }
}

const keyOf = (project: string, idempotencyKey: string) => JSON.stringify([project, idempotencyKey])

function recordOf(fields: Readonly<Record<string, string>>): JobRecord | undefined {
  const { job, state, attempts, percent, task = '', endedAt, result, error } = fields
  if (job === undefined) return undefined
  return {
    ...(JSON.parse(job) as ExportJob),
    state: state as JobRecord['state'],
    attempts: Number(attempts),
    progress: { percent: Number(percent), task },
    ...(endedAt !== undefined && { endedAt }),
    ...(result !== undefined && { result: JSON.parse(result) as JobResult }),
    ...(error !== undefined && { error: JSON.parse(error) as JobError }),
  }
}
