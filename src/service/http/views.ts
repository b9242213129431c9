import { numberOf } from '../../rules/attributes.ts'
import type { ExportViolation } from '../../rules/export-rule.ts'
import type { ImageRecord } from '../../rules/image-record.ts'
import type { JobRecord } from '../jobs/job.ts'
import type { DryRunBody, ImageBody, JobBody } from './schemas.ts'

/** A job in the words of the API. */
export function viewJob(job: JobRecord, details = false): JobBody {
  return {
    job_id: job.id,
    job_type: 'imsNativeExportImageJob',
    status: job.state,
    begin_time: job.createdAt,
    end_time: job.endedAt ?? '',
    error_code: job.error?.code ?? null,
    fail_reason: job.error?.reason ?? null,
    entities: {
      image_id: job.image.id,
      image_name: job.image.name,
      process_percent: job.progress.percent,
      current_task: job.progress.task,
    },
    ...(details && job.result !== undefined && { result: job.result }),
  }
}

export function viewImage(image: ImageRecord): ImageBody {
  const { id, name, status } = image
  const size = numberOf(image, '__image_size') ?? 0
  return {
    id,
    name,
    status: typeof status === 'string' ? status : '',
    size,
    min_disk: numberOf(image, 'min_disk') ?? 0,
  }
}

export function viewDryRun(violations: readonly ExportViolation[]): DryRunBody {
  return {
    exportable: violations.length === 0,
    violations: violations.map(({ rule, code, description, found, explain }) => {
      return { rule, code, message: `not so: ${description}`, found, explain }
    }),
  }
}

/** All that is wrong, in one text: the body of an error has room for one code only. */
export function sayViolations(violations: readonly ExportViolation[]): string {
  return violations.map(({ found, explain }) => `${found}: ${explain}`).join('; ')
}
