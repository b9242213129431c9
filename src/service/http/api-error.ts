import { isDiskferryError } from '../../bytes/errors.ts'
import { QueueUnavailable, ServiceCode } from '../jobs/queue.ts'
import type { ErrorBody } from './schemas.ts'

export type ErrorStatus = 400 | 401 | 403 | 404 | 500 | 503

/** What a request is answered with when it fails. */
export class ApiError extends Error {
  override readonly name = 'ApiError'
  readonly status: ErrorStatus
  readonly code: string
  readonly retryAfterSeconds: number | undefined

  constructor(status: ErrorStatus, code: string, message: string, options: { retryAfterSeconds?: number } = {}) {
    super(message)
    this.status = status
    this.code = code
    this.retryAfterSeconds = options.retryAfterSeconds
  }
}

export const notFound = () => new ApiError(404, ServiceCode.notFound, 'there is no such thing')
export const noSuchImage = () => new ApiError(404, 'IMG.0027', 'there is no such image')
export const unavailable = (what: string) =>
  new ApiError(503, ServiceCode.unavailable, `${what} is unavailable: try again later`, { retryAfterSeconds: 5 })

/** A store that fails is no defect of ours; anything else that was not foreseen is, and its text is for the log alone. */
export function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error
  if (isDiskferryError(error, 'target-failed')) return unavailable('the object storage')
  if (error instanceof QueueUnavailable) return unavailable('the queue')
  return new ApiError(500, 'IMG.0061', 'something unforeseen went wrong')
}

export function toBody({ code, message }: ApiError): ErrorBody {
  return { error: { code, message } }
}
