/** What a file may be exported as; `zvhd2` is what a quick export writes. */
export type ExportFormat = 'qcow2' | 'vhd' | 'zvhd' | 'vmdk' | 'zvhd2'

/** An export that was accepted: plain JSON, all that a worker on another machine has to know. */
export interface ExportJob {
  /** 32 hexadecimal digits. */
  readonly id: string
  readonly project: string
  readonly image: { readonly id: string; readonly name: string }
  readonly bucket: string
  readonly key: string
  readonly format: ExportFormat
  /** ISO 8601, UTC. */
  readonly createdAt: string
  /** The caller's own name for this request, unique within the project. */
  readonly idempotencyKey?: string
}

/** `INIT` waits, `RUNNING` runs; the other two are for ever. */
export type JobState = 'INIT' | 'RUNNING' | 'SUCCESS' | 'FAIL'

export interface JobProgress {
  /** 0 to 1; never falls while one attempt runs. */
  readonly percent: number
  /** What is being done, in a word or two. */
  readonly task: string
}

export interface JobResult {
  /** `s3://bucket/key` */
  readonly location: string
  /** Bytes of the object. */
  readonly size: number
  /** CRC-32C of the whole object, eight hexadecimal digits. Unknown when an attempt ended before it could say it. */
  readonly crc32c?: string
  readonly etag?: string
}

export interface JobError {
  /** A code of the API: `IMG.0144`. */
  readonly code: string
  readonly reason: string
}

/** A job as anybody may see it at one moment: plain JSON. */
export interface JobRecord extends ExportJob {
  readonly state: JobState
  /** How often it was begun. */
  readonly attempts: number
  readonly progress: JobProgress
  /** ISO 8601; only of one that has ended. */
  readonly endedAt?: string
  /** Only of one that succeeded. */
  readonly result?: JobResult
  /** Only of one that failed. */
  readonly error?: JobError
}

export function hasEnded({ state }: JobRecord): boolean {
  return state === 'SUCCESS' || state === 'FAIL'
}

export function newRecord(job: ExportJob): JobRecord {
  return { ...job, state: 'INIT', attempts: 0, progress: { percent: 0, task: 'waiting' } }
}

/** What no two unfinished jobs may share: an image is exported once at a time, an object has one writer. */
export function claimsOf({ image, bucket, key }: ExportJob): { image: string; target: string } {
  return { image: image.id, target: `${bucket}:${key}` }
}

/** Whether two requests ask for the same thing: a key that was used before must not stand for something else. */
export function asksTheSame(a: ExportJob, b: ExportJob): boolean {
  return a.image.id === b.image.id && a.bucket === b.bucket && a.key === b.key && a.format === b.format
}
