import type { ExportJob, JobError, JobProgress, JobRecord, JobResult } from './job.ts'

/** What became of a job that was handed in. */
export type Submission =
  | { readonly kind: 'accepted'; readonly job: JobRecord }
  /** The idempotency key is known, and so is the request: its job, whatever has become of it. */
  | { readonly kind: 'known'; readonly job: JobRecord }
  /** The idempotency key is known with another request. */
  | { readonly kind: 'key-reused' }
  /** An unfinished job has the image, or writes the object. */
  | { readonly kind: 'image-claimed' }
  | { readonly kind: 'target-claimed' }
  | { readonly kind: 'too-many' }
  /** It takes no jobs any more. */
  | { readonly kind: 'closed' }

/**
 * Takes jobs, has a runner run them, and knows what became of them. Implementations pass `job-queue-suite`. Whether the
 * runner is in this process is the implementation's affair: all that crosses is plain JSON.
 */
export interface JobQueue {
  /**
   * Checks the key, claims image and target, and records the job, as one step: of two that collide, one is accepted.
   * A claim is held until the job has ended and nothing of it runs.
   */
  submit(job: ExportJob): Promise<Submission>
  find(jobId: string): Promise<JobRecord | undefined>
  findByKey(project: string, idempotencyKey: string): Promise<JobRecord | undefined>
  /** Whether an unfinished job has the image, or writes the object. */
  claimed(claims: { readonly image: string; readonly target: string }): Promise<{ image: boolean; target: boolean }>
  /** A project's jobs, the newest first. */
  list(project: string, options: { readonly limit: number }): Promise<JobRecord[]>
  /**
   * Asks a job to end. Resolves when that is on record: a job that waits is then over, one that runs ends as soon as it
   * has cleaned up. One that has ended stays as it is. The record, or undefined when there is no such job.
   */
  cancel(jobId: string): Promise<JobRecord | undefined>
  /** The job as it is, then after each change (several may be seen as one), up to the one that ends it. */
  watch(jobId: string, signal?: AbortSignal): AsyncIterable<JobRecord>
  /** Unfinished jobs of all projects. */
  counts(): Promise<{ readonly waiting: number; readonly running: number }>
  /** Rejects, with the reason, while no job could be taken. */
  assertReady(): Promise<void>
  /**
   * Begins no further job, lets those that run end within `graceMs`, stops what is left with `JobInterrupted`: such
   * jobs, and those that wait, go on when a queue is opened on the same storage. May be called again.
   */
  close(options?: { readonly graceMs?: number }): Promise<void>
}

/** What a runner is given beside the job. */
export interface JobContext {
  /** 1 for the first; a later one takes over what an earlier one left, and may find its finished object. */
  readonly attempt: number
  /**
   * Aborted with `JobCancelled` (nothing may be left) or `JobInterrupted` (another attempt will follow). A later attempt
   * may be aborted from its beginning: all it has to do is clean up after the last.
   */
  readonly signal: AbortSignal
  /** Cheap: the queue decides how often it is passed on. */
  report(progress: JobProgress): void
}

/**
 * Runs one job. When it settles nothing of the job runs any more.
 * @throws JobFailure for whatever has a code; anything else is recorded as unknown error
 */
export type JobRunner = (job: ExportJob, context: JobContext) => Promise<JobResult>

/** Why a job failed, as its record will say. */
export class JobFailure extends Error {
  override readonly name: string = 'JobFailure'
  readonly code: string
  /** Whether another attempt may do better: a store or a network failed, not the image. */
  readonly mayRetry: boolean

  constructor(code: string, reason: string, options: { mayRetry?: boolean; cause?: unknown } = {}) {
    super(reason, { cause: options.cause })
    this.code = code
    this.mayRetry = options.mayRetry ?? false
  }
}

/** Where a queue keeps its jobs can't be reached: nobody knows whether what was asked for was done. */
export class QueueUnavailable extends Error {
  override readonly name = 'QueueUnavailable'
  constructor(cause: unknown) {
    super('the queue can not be reached', { cause })
  }
}

/** Codes of the service's own, where the API has none. */
export const ServiceCode = {
  cancelled: 'DFY.0001',
  interrupted: 'DFY.0002',
  keyReused: 'DFY.0003',
  unauthenticated: 'DFY.0401',
  notFound: 'DFY.0404',
  unavailable: 'DFY.0503',
} as const

/** Someone no longer wants it. */
export class JobCancelled extends JobFailure {
  override readonly name = 'JobCancelled'
  constructor() {
    super(ServiceCode.cancelled, 'the export was cancelled; nothing of it is left')
  }
}

/** Its process ends; another attempt will follow. */
export class JobInterrupted extends JobFailure {
  override readonly name = 'JobInterrupted'
  constructor() {
    super(ServiceCode.interrupted, 'the export was interrupted', { mayRetry: true })
  }
}

/** What a record says of a failure. What was not foreseen may hold anything: its text is for the log alone. */
export function errorOf(error: unknown): JobError {
  if (error instanceof JobFailure) return { code: error.code, reason: error.message }
  return { code: 'IMG.0061', reason: 'something unforeseen went wrong' }
}
