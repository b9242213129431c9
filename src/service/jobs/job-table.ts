import { claimsOf, type ExportJob, hasEnded, type JobRecord } from './job.ts'

const keyOf = (project: string, idempotencyKey: string) => JSON.stringify([project, idempotencyKey])

/** Jobs in memory, by what they are asked for by. */
export class JobTable {
  readonly #records = new Map<string, JobRecord>()
  readonly #byKey = new Map<string, string>()
  readonly #images = new Set<string>()
  readonly #targets = new Set<string>()
  readonly #keep: number
  #finished: string[] = []

  /** Of the jobs that have ended, the newest `keep` are remembered. */
  constructor(keep: number) {
    this.#keep = keep
  }

  get(id: string): JobRecord | undefined {
    return this.#records.get(id)
  }

  byKey(project: string, idempotencyKey: string): JobRecord | undefined {
    return this.#records.get(this.#byKey.get(keyOf(project, idempotencyKey)) ?? '')
  }

  ofProject(project: string): JobRecord[] {
    const own = [...this.#records.values()].filter((record) => record.project === project)
    return own.sort((a, b) => Date.parse(b.createdAt) - Date.parse(a.createdAt))
  }

  claimed({ image, target }: { image: string; target: string }): { image: boolean; target: boolean } {
    return { image: this.#images.has(image), target: this.#targets.has(target) }
  }

  set(record: JobRecord): void {
    const before = this.#records.get(record.id)
    this.#records.set(record.id, record)
    if (record.idempotencyKey !== undefined) this.#byKey.set(keyOf(record.project, record.idempotencyKey), record.id)
    if (!hasEnded(record)) this.#claim(record)
    else if (before === undefined || !hasEnded(before)) this.#retire(record)
  }

  /** As if it had never been there. */
  remove(record: JobRecord): void {
    this.#release(record)
    this.#forget(record.id)
  }

  #claim(job: ExportJob): void {
    const { image, target } = claimsOf(job)
    this.#images.add(image)
    this.#targets.add(target)
  }

  #release(job: ExportJob): void {
    const { image, target } = claimsOf(job)
    this.#images.delete(image)
    this.#targets.delete(target)
  }

  #retire(record: JobRecord): void {
    this.#release(record)
    this.#finished.push(record.id)
    if (this.#finished.length > this.#keep) this.#forget(this.#finished.shift() as string)
  }

  #forget(id: string): void {
    const { project, idempotencyKey } = this.#records.get(id) ?? {}
    if (project !== undefined && idempotencyKey !== undefined) this.#byKey.delete(keyOf(project, idempotencyKey))
    this.#records.delete(id)
  }
}
