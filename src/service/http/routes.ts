import { createRoute, z } from '@hono/zod-openapi'
import {
  acceptedSchema,
  dryRunSchema,
  errorSchema,
  exportRequestSchema,
  healthSchema,
  imageListSchema,
  jobListSchema,
  jobSchema,
} from './schemas.ts'

const json = <T extends z.ZodType>(schema: T, description: string) => ({
  description,
  content: { 'application/json': { schema } },
})

const failures = {
  400: json(errorSchema, 'The request is wrong, or what it asks for is not allowed.'),
  401: json(errorSchema, 'Authentication failed.'),
  403: json(errorSchema, 'No right to do this.'),
  404: json(errorSchema, 'There is no such image or job.'),
  500: json(errorSchema, 'Internal error.'),
  503: json(errorSchema, 'The service, or a store that it needs, is unavailable.'),
}

const token = z.object({ 'X-Auth-Token': z.string() })
const flag = z.enum(['true', 'false']).optional()
const job = z.object({ job_id: z.string() })
const jobInProject = z.object({ project_id: z.string(), job_id: z.string() })
const jobQuery = z.object({ details: flag })
const jobAnswer = { 200: json(jobSchema, 'The job as it is.'), ...failures }

export const exportImage = createRoute({
  method: 'post',
  path: '/v1/cloudimages/{image_id}/file',
  summary: 'Export an image into object storage',
  request: {
    headers: token.extend({ 'Idempotency-Key': z.string().optional() }),
    params: z.object({ image_id: z.string() }),
    query: z.object({ dry_run: flag }),
    body: { content: { 'application/json': { schema: exportRequestSchema } }, required: true },
  },
  responses: {
    200: json(
      z.union([acceptedSchema, dryRunSchema]),
      'The job; in a dry run, what would keep it from being accepted.',
    ),
    ...failures,
  },
})

export const getJobOfProject = createRoute({
  method: 'get',
  path: '/v1/{project_id}/jobs/{job_id}',
  summary: 'Query a job',
  request: { headers: token, params: jobInProject, query: jobQuery },
  responses: jobAnswer,
})

export const getJob = createRoute({
  method: 'get',
  path: '/v1/cloudimages/job/{job_id}',
  summary: 'Query a job',
  request: { headers: token, params: job, query: jobQuery },
  responses: jobAnswer,
})

export const cancelJobOfProject = createRoute({
  method: 'delete',
  path: '/v1/{project_id}/jobs/{job_id}',
  summary: 'Cancel a job: nothing of it is left in the bucket',
  request: { headers: token, params: jobInProject },
  responses: jobAnswer,
})

export const cancelJob = createRoute({
  method: 'delete',
  path: '/v1/cloudimages/job/{job_id}',
  summary: 'Cancel a job: nothing of it is left in the bucket',
  request: { headers: token, params: job },
  responses: jobAnswer,
})

export const listJobs = createRoute({
  method: 'get',
  path: '/v1/{project_id}/jobs',
  summary: 'List the project’s jobs, the newest first',
  request: {
    headers: token,
    params: z.object({ project_id: z.string() }),
    query: z.object({ limit: z.string().optional().openapi({ description: '1 to 1000; 100 by default.' }) }),
  },
  responses: { 200: json(jobListSchema, 'The jobs.'), ...failures },
})

export const watchJob = createRoute({
  method: 'get',
  path: '/v1/cloudimages/job/{job_id}/events',
  summary: 'Follow a job: an event "job" with the job as it is, after each change, up to its end',
  request: { headers: token, params: job },
  responses: {
    200: { description: 'Server-sent events.', content: { 'text/event-stream': { schema: z.string() } } },
    ...failures,
  },
})

export const listImages = createRoute({
  method: 'get',
  path: '/v1/cloudimages',
  summary: 'List the images that the project sees',
  request: { headers: token },
  responses: { 200: json(imageListSchema, 'The images.'), ...failures },
})

export const health = createRoute({
  method: 'get',
  path: '/health',
  summary: 'The process is alive',
  responses: { 200: json(healthSchema, 'Alive.') },
})

export const ready = createRoute({
  method: 'get',
  path: '/ready',
  summary: 'The service takes jobs',
  responses: { 200: json(healthSchema, 'It does.'), 503: json(healthSchema, 'It does not, or no longer.') },
})
