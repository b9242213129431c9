import type { Log } from '../log.ts'
import { errorOf, type JobRunner } from './queue.ts'

/** Writes down how each attempt at a job begins and ends. */
export function logging(run: JobRunner, log: Log): JobRunner {
  return async (job, context) => {
    const facts = { job: job.id, project: job.project, image: job.image.id, attempt: context.attempt }
    const begun = performance.now()
    log.info(facts, 'export begun')
    try {
      const result = await run(job, context)
      log.info({ ...facts, ...result, seconds: secondsSince(begun) }, 'export done')
      return result
    } catch (error) {
      const { code, reason } = errorOf(error)
      const cause = error instanceof Error ? (error.cause ?? error) : error
      log.warn({ ...facts, code, reason, err: cause, seconds: secondsSince(begun) }, 'export not done')
      throw error
    }
  }
}

function secondsSince(begun: number): number {
  return Math.round(performance.now() - begun) / 1000
}
