import { defaultPolicy, type Policy } from '../rules/policy.ts'
import { type App, createApp, requireToken } from './http/app.ts'
import { serveConsole } from './http/console.ts'
import { serveImages } from './http/image-routes.ts'
import { serveJobs } from './http/job-routes.ts'
import { documentOf, serveDocument, serveOperation } from './http/operation-routes.ts'
import type { JobQueue } from './jobs/queue.ts'
import { type Limits, limitsSchema } from './limits.ts'
import { type Log, noLog } from './log.ts'
import { Metrics } from './metrics.ts'
import { RateLimit } from './rate-limit.ts'
import type { Authenticator, ImageCatalog, TargetResolver } from './seams.ts'

export interface ExportServiceOptions {
  readonly catalog: ImageCatalog
  readonly authenticator: Authenticator
  readonly targets: TargetResolver
  /** The caller's own: it opens and closes it. */
  readonly queue: JobQueue
  readonly policy?: Policy | undefined
  readonly limits?: Partial<Limits> | undefined
  readonly log?: Log | undefined
  readonly metrics?: Metrics | undefined
}

export interface ExportService {
  /** Answers a request; mountable in any server that has a way to the Fetch API's `Request` and `Response`. */
  fetch(request: Request): Promise<Response>
  /** The OpenAPI document. */
  document(): ReturnType<typeof documentOf>
  /** Lets go of everybody who follows a job, and says that it is not ready. The queue is closed by its owner. */
  end(): void
  /** For further routes beside the API's. */
  readonly app: App
}

/** The export API over a queue, a catalogue, tokens and buckets. */
export function createExportService(options: ExportServiceOptions): ExportService {
  const { policy = defaultPolicy, log = noLog, metrics = new Metrics(), ...seams } = options
  const limits = limitsSchema.parse(options.limits ?? {})
  const ending = new AbortController()
  const rateLimit = new RateLimit(limits.requestsPerSecond, limits.burst)
  const appOptions = { ...seams, policy, log, metrics, limits, rateLimit, ending: ending.signal }
  metrics.watch(options.queue)
  const app = createApp(appOptions)
  requireToken(app, appOptions)
  serveImages(app, appOptions)
  serveJobs(app, appOptions)
  serveOperation(app, appOptions)
  serveDocument(app)
  serveConsole(app)
  return {
    app,
    fetch: async (request) => app.fetch(request),
    document: () => documentOf(app),
    end: () => ending.abort(),
  }
}
