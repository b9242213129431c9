import { type DiskferryError, type ErrorCode, isDiskferryError } from '../../bytes/errors.ts'
import { type ConvertResult, convert } from '../../pipeline/convert.ts'
import type { Pool } from '../../pipeline/pool.ts'
import type { Progress } from '../../pipeline/progress.ts'
import type { ExportBucket, ImageCatalog, TargetResolver } from '../seams.ts'
import { type ExportTrace, traced, tracePhase } from './export-trace.ts'
import type { ExportJob, JobProgress, JobResult } from './job.ts'
import { type JobContext, JobFailure, type JobRunner } from './queue.ts'

export interface RunnerOptions {
  readonly catalog: ImageCatalog
  readonly targets: TargetResolver
  /** Threads, shared by all jobs of the process. */
  readonly pool: Pool
}

/** What an object says of the job that made it, so that a later attempt knows it again. */
const JOB = 'diskferry-job'

/** The runner of exports: opens the image, converts it into the bucket, and leaves a whole object or none. */
export function exportRunner(options: RunnerOptions): JobRunner {
  return (job, context) =>
    traced(job, context, async (trace) => {
      try {
        const bucket = await options.targets.resolve(job.bucket, job.project)
        const attempt = context.attempt === 1 ? firstAttempt : laterAttempt
        return await attempt(job, bucket, { ...context, trace }, options)
      } catch (error) {
        context.signal.throwIfAborted()
        throw failureOf(error)
      }
    })
}

interface TracedContext extends JobContext {
  readonly trace: ExportTrace
}

async function firstAttempt(...args: Parameters<typeof runExport>): Promise<JobResult> {
  const [job, bucket] = args
  return (await finishedBefore(job, bucket)) ?? (await runExport(...args))
}

/**
 * Whoever made the last attempt may have been killed: what had arrived by then is not sent again. When this attempt fails
 * as well, or has nothing left to do, nothing of it stays.
 */
async function laterAttempt(...args: Parameters<typeof runExport>): Promise<JobResult> {
  const [job, bucket] = args
  const cleanUp = () => bucket.abortUploads(job.key, new Date(job.createdAt))
  try {
    const finished = await finishedBefore(job, bucket)
    if (finished === undefined) return await runExport(...args)
    await cleanUp()
    return finished
  } catch (error) {
    await cleanUp()
    throw error
  }
}

/** The object that an attempt made whose process ended before it could say so. Anybody else's stands in the way. */
async function finishedBefore(job: ExportJob, bucket: ExportBucket): Promise<JobResult | undefined> {
  const found = await bucket.head(job.key)
  if (found === undefined) return undefined
  if (found.metadata[JOB] !== job.id) throw new JobFailure('IMG.0070', `${objectUrl(job)} exists already`)
  const { size, etag } = found
  return { location: objectUrl(job), size, ...(etag !== undefined && { etag }) }
}

async function runExport(
  job: ExportJob,
  bucket: ExportBucket,
  { attempt, signal, report, trace }: TracedContext,
  { catalog, pool }: RunnerOptions,
): Promise<JobResult> {
  signal.throwIfAborted()
  if ((await catalog.find(job.image.id)) === undefined) throw new JobFailure('IMG.0144', 'the image is gone')
  const result = await convert({
    ...(await catalog.source(job.image.id)),
    to: job.format,
    target: bucket.target(job.key, { [JOB]: job.id }, { resume: attempt > 1 }),
    pool,
    signal,
    onProgress(progress) {
      tracePhase(trace, progress.phase)
      report(progressOf(progress))
    },
  })
  return resultOf(result)
}

function resultOf({ location, bytesWritten, crc32c, etag }: ConvertResult): JobResult {
  return { location, size: bytesWritten, crc32c, ...(etag !== undefined && { etag }) }
}

/** Looking for data takes little of a job's time, moving it nearly all, and the last of it only the store knows. */
const SHARES: Readonly<Record<Progress['phase'], { from: number; share: number; task: string }>> = {
  survey: { from: 0, share: 0.05, task: 'reading the image' },
  transfer: { from: 0.05, share: 0.9, task: 'converting and uploading' },
  finish: { from: 0.95, share: 0, task: 'completing the object' },
}

function progressOf({ phase, done, total }: Progress): JobProgress {
  const { from, share, task } = SHARES[phase]
  const percent = from + (total > 0 ? share * Math.min(1, done / total) : 0)
  return { percent: Math.round(percent * 1000) / 1000, task }
}

/** Failures of store, network and threads pass; an image stays what it is. */
const PASSING: ReadonlySet<ErrorCode> = new Set([
  'target-failed',
  'checksum-mismatch',
  'worker-lost',
  'source-unreadable',
])

function failureOf(error: unknown): JobFailure {
  if (error instanceof JobFailure) return error
  if (isDiskferryError(error)) return ofImage(error)
  return new JobFailure('IMG.0061', 'something unforeseen went wrong', { mayRetry: true, cause: error })
}

function ofImage(cause: DiskferryError): JobFailure {
  const hint = cause.hint === undefined ? '' : ` (${cause.hint})`
  return new JobFailure('IMG.0061', `${cause.code}: ${cause.message}${hint}`, {
    mayRetry: PASSING.has(cause.code),
    cause,
  })
}

function objectUrl({ bucket, key }: ExportJob): string {
  return `s3://${bucket}/${key}`
}
