import { OpenAPIHono, type RouteConfig } from '@hono/zod-openapi'
import type { Context, Handler, MiddlewareHandler } from 'hono'
import { ServiceCode } from '../jobs/queue.ts'
import type { Limits } from '../limits.ts'
import type { Log } from '../log.ts'
import type { Metrics } from '../metrics.ts'
import type { RateLimit } from '../rate-limit.ts'
import type { Authenticator, Caller } from '../seams.ts'
import type { ExportDependencies } from '../submit-export.ts'
import { ApiError, notFound, toApiError, toBody, unavailable } from './api-error.ts'

export interface AppOptions extends ExportDependencies {
  readonly authenticator: Authenticator
  readonly limits: Limits
  readonly rateLimit: RateLimit
  readonly metrics: Metrics
  readonly log: Log
  /** Aborted when the service ends: whoever follows a job is let go. */
  readonly ending: AbortSignal
}

export interface Env {
  Variables: { caller: Caller }
}
export type App = OpenAPIHono<Env>
export type RequestContext = Context<Env>

type Route = RouteConfig & { getRoutingPath(): string }

/** Serves a route that the document describes. Requests are held against the rules, not against its schemas. */
export function serveRoute(app: App, route: Route, handler: Handler<Env>): void {
  app.openAPIRegistry.registerPath(route)
  app.on(route.method.toUpperCase(), route.getRoutingPath(), handler)
}

/** An application that answers nothing yet, and says of every failure what the API says of it. */
export function createApp(options: Pick<AppOptions, 'metrics' | 'log'>): App {
  const app: App = new OpenAPIHono<Env>()
  app.use(observing(options))
  app.notFound((context) => failed(context, notFound()))
  app.onError((error, context) => {
    const answer = toApiError(error)
    if (answer.status >= 500) options.log.error({ err: error, path: context.req.path }, 'a request failed')
    return failed(context, answer)
  })
  return app
}

function failed(context: Context, error: ApiError): Response {
  if (error.retryAfterSeconds !== undefined) context.header('Retry-After', String(error.retryAfterSeconds))
  return context.json(toBody(error), error.status)
}

function observing({ metrics }: Pick<AppOptions, 'metrics'>): MiddlewareHandler<Env> {
  return async (context, next) => {
    const begun = performance.now()
    await next()
    context.header('Cache-Control', 'no-store')
    context.header('X-Content-Type-Options', 'nosniff')
    const seconds = (performance.now() - begun) / 1000
    metrics.request(context.req.method, routeOf(context), context.res.status, seconds)
  }
}

/** The pattern, not the path: callers' ids would make a series each. */
function routeOf(context: Context): string {
  const routes = context.req.matchedRoutes.filter(({ path }) => !path.endsWith('*'))
  return routes.at(-1)?.path ?? 'none'
}

/** Lets nobody past who is not known, or who asks too often. To be called before routes are served. */
export function requireToken(app: App, options: AppOptions): void {
  app.use('/v1/*', authenticating(options))
}

const MOST_TOKEN = 8 * 1024

function authenticating({ authenticator, rateLimit, log }: AppOptions): MiddlewareHandler<Env> {
  return async (context, next) => {
    const token = context.req.header('X-Auth-Token') ?? ''
    const caller =
      token === '' || token.length > MOST_TOKEN
        ? undefined
        : await authenticator.authenticate(token).catch((error) => {
            log.error({ err: error }, 'tokens can not be checked')
            throw unavailable('authentication')
          })
    if (caller === undefined) throw new ApiError(401, ServiceCode.unauthenticated, 'authentication failed')
    const retryAfterSeconds = rateLimit.take(caller.project)
    if (retryAfterSeconds > 0) {
      throw new ApiError(400, 'IMG.0060', 'there are too many requests: try again later', { retryAfterSeconds })
    }
    context.set('caller', caller)
    await next()
  }
}
