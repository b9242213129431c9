import { streamSSE } from 'hono/streaming'
import { hasEnded, type JobRecord } from '../jobs/job.ts'
import { notFound, unavailable } from './api-error.ts'
import { type App, type AppOptions, type RequestContext, serveRoute } from './app.ts'
import { assertOwnProject, assertPermitted } from './permission.ts'
import * as routes from './routes.ts'
import { viewJob } from './views.ts'

const JOB_ID = /^[0-9a-f]{32}$/

export function serveJobs(app: App, options: AppOptions): void {
  const get = async (context: RequestContext) => {
    assertOwnProject(context)
    const job = await ownJob(context, options)
    return context.json(viewJob(job, context.req.query('details') === 'true'))
  }
  serveRoute(app, routes.getJob, get)
  serveRoute(app, routes.getJobOfProject, get)

  const cancel = async (context: RequestContext) => {
    assertOwnProject(context)
    assertPermitted(context, options)
    const { id } = await ownJob(context, options)
    options.log.info({ job: id }, 'cancel asked for')
    return context.json(viewJob(await cancelled(id, options)))
  }
  serveRoute(app, routes.cancelJob, cancel)
  serveRoute(app, routes.cancelJobOfProject, cancel)

  serveRoute(app, routes.listJobs, async (context) => {
    assertOwnProject(context)
    const jobs = await options.queue.list(context.get('caller').project, { limit: limitOf(context) })
    return context.json({ jobs: jobs.map((job) => viewJob(job)) })
  })
  serveWatch(app, options)
}

async function ownJob(context: RequestContext, { queue }: AppOptions): Promise<JobRecord> {
  const id = context.req.param('job_id') ?? ''
  const job = JOB_ID.test(id) ? await queue.find(id) : undefined
  if (job === undefined || job.project !== context.get('caller').project) throw notFound()
  return job
}

/** The job as it is when it has ended, or when the caller has waited long enough. */
async function cancelled(id: string, { queue, limits, ending }: AppOptions): Promise<JobRecord> {
  let job = await queue.cancel(id)
  if (job === undefined) throw notFound()
  const patience = AbortSignal.any([ending, AbortSignal.timeout(limits.cancelSeconds * 1000)])
  if (!hasEnded(job)) for await (const change of queue.watch(id, patience)) job = change
  return job
}

const MOST_LISTED = 1000

function limitOf(context: RequestContext): number {
  const limit = Number(context.req.query('limit') ?? 100)
  return Number.isInteger(limit) && limit > 0 ? Math.min(limit, MOST_LISTED) : 100
}

/** Proxies close connections that are silent for long. */
const HEARTBEAT_MS = 15_000

function serveWatch(app: App, options: AppOptions): void {
  let followers = 0
  serveRoute(app, routes.watchJob, async (context) => {
    const { id } = await ownJob(context, options)
    if (followers >= options.limits.streams) throw unavailable('following jobs')
    followers += 1
    return streamSSE(context, async (stream) => {
      const gone = new AbortController()
      stream.onAbort(() => gone.abort())
      const heartbeat = setInterval(() => void stream.write(': alive\n\n').catch(() => undefined), HEARTBEAT_MS)
      try {
        for await (const job of options.queue.watch(id, AbortSignal.any([gone.signal, options.ending]))) {
          await stream.writeSSE({ event: 'job', data: JSON.stringify(viewJob(job, true)) })
        }
      } finally {
        clearInterval(heartbeat)
        followers -= 1
      }
    })
  })
}
