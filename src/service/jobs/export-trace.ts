import { channel, tracingChannel } from 'node:diagnostics_channel'
import type { Phase } from '../../pipeline/progress.ts'
import type { ExportJob, JobResult } from './job.ts'
import type { JobContext } from './queue.ts'

/** What subscribers are told of an attempt at an export: one object from its start to its end. */
export interface ExportTrace {
  readonly job: ExportJob
  /** 1 for the first. */
  readonly attempt: number
  /** Of the conversion that has begun; undefined before. */
  phase?: Phase
  /** Once it has succeeded. */
  result?: JobResult
  /** Once it has failed, or was stopped. */
  error?: unknown
}

const exportsChannel = tracingChannel<unknown, ExportTrace>('diskferry:export')
const phaseChannel = channel('diskferry:export:phase')

/** Runs an attempt, and tells whoever listens on `diskferry:export` of its start and its end. */
export function traced(
  job: ExportJob,
  { attempt }: JobContext,
  run: (trace: ExportTrace) => Promise<JobResult>,
): Promise<JobResult> {
  const trace: ExportTrace = { job, attempt }
  return exportsChannel.tracePromise(() => run(trace), trace)
}

/** Says on `diskferry:export:phase` that a phase begins; said again of the same one, nothing is told. */
export function tracePhase(trace: ExportTrace, phase: Phase): void {
  if (trace.phase === phase) return
  trace.phase = phase
  phaseChannel.publish(trace)
}
