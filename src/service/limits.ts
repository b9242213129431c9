import { z } from 'zod'

const count = (value: number) => z.number().int().positive().default(value)

/** What one caller, or one connection, may take of the service. */
export const limitsSchema = z.strictObject({
  bodyBytes: count(16 * 1024).describe('Bytes of a request’s body.'),
  bodySeconds: z.number().positive().default(10).describe('Seconds in which a body has to arrive.'),
  headerBytes: count(16 * 1024).describe('Bytes of all headers of a request.'),
  headerSeconds: z.number().positive().default(10).describe('Seconds in which headers have to arrive.'),
  requestsPerSecond: z.number().positive().default(50).describe('Requests a second of one project.'),
  burst: count(200).describe('Requests of one project that may come at once.'),
  streams: count(500).describe('Jobs that are followed at once.'),
  cancelSeconds: z.number().min(0).default(5).describe('Seconds that a cancel waits for the job to have ended.'),
})

export type Limits = z.output<typeof limitsSchema>
