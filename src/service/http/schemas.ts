import { z } from '@hono/zod-openapi'

export const errorSchema = z
  .object({
    error: z.object({
      code: z.string().openapi({ example: 'IMG.0072' }),
      message: z.string().openapi({ description: 'Everything that is wrong, and what to change.' }),
    }),
  })
  .openapi('Error')

/** What is asked for. The rules read the body, and say all that is wrong with it: this is for the document. */
export const exportRequestSchema = z
  .object({
    bucket_url: z.string().openapi({ description: '<bucket>:<file>', example: 'exports:disks/centos7.vhd' }),
    file_format: z
      .enum(['qcow2', 'vhd', 'zvhd', 'vmdk'])
      .optional()
      .openapi({ description: 'Absent in a quick export.' }),
    is_quick_export: z.boolean().optional().openapi({ description: 'true: the file is written as ZVHD2.' }),
  })
  .openapi('ExportRequest')

export const acceptedSchema = z.object({ job_id: z.string().openapi({ example: '0'.repeat(32) }) }).openapi('Accepted')

export const dryRunSchema = z
  .object({
    exportable: z.boolean(),
    violations: z.array(
      z.object({ rule: z.string(), code: z.string(), message: z.string(), found: z.string(), explain: z.string() }),
    ),
  })
  .openapi('DryRun')

export const jobResultSchema = z
  .object({
    location: z.string().openapi({ example: 's3://exports/centos7.vhd' }),
    size: z.number().openapi({ description: 'Bytes of the object.' }),
    crc32c: z.string().optional().openapi({ description: 'CRC-32C of the whole object, hexadecimal.' }),
    etag: z.string().optional(),
  })
  .openapi('JobResult')

export const jobSchema = z
  .object({
    job_id: z.string(),
    job_type: z.literal('imsNativeExportImageJob'),
    status: z.enum(['INIT', 'RUNNING', 'SUCCESS', 'FAIL']),
    begin_time: z.string(),
    end_time: z.string().openapi({ description: 'Empty while the job has not ended.' }),
    error_code: z.string().nullable(),
    fail_reason: z.string().nullable(),
    entities: z.object({
      image_id: z.string(),
      image_name: z.string(),
      process_percent: z.number().openapi({ description: '0 to 1.' }),
      current_task: z.string(),
    }),
    result: jobResultSchema.optional().openapi({ description: 'Only with ?details=true, of a job that succeeded.' }),
  })
  .openapi('Job')

export const jobListSchema = z.object({ jobs: z.array(jobSchema) }).openapi('JobList')

export const imageSchema = z
  .object({ id: z.string(), name: z.string(), status: z.string(), size: z.number(), min_disk: z.number() })
  .openapi('Image')

export const imageListSchema = z.object({ images: z.array(imageSchema) }).openapi('ImageList')

export const healthSchema = z.object({ status: z.enum(['ok', 'unavailable']) }).openapi('Health')

export type ErrorBody = z.infer<typeof errorSchema>
export type DryRunBody = z.infer<typeof dryRunSchema>
export type JobBody = z.infer<typeof jobSchema>
export type ImageBody = z.infer<typeof imageSchema>
