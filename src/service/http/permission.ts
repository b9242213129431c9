import { ApiError } from './api-error.ts'
import type { AppOptions, RequestContext } from './app.ts'

/** Before anything about an image or a job is looked at. */
export function assertPermitted(context: RequestContext, { policy }: AppOptions): void {
  if (policy.off.includes('permitted') || context.get('caller').roles.includes(policy.role)) return
  throw new ApiError(403, policy.codes.permitted ?? 'IMG.0026', `no right to do this: ask for the role ${policy.role}`)
}

/** A project is asked for by its own callers only. */
export function assertOwnProject(context: RequestContext): void {
  const project = context.req.param('project_id')
  if (project === undefined || project === context.get('caller').project) return
  throw new ApiError(403, 'IMG.0026', 'no right to see this project')
}
