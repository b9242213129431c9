export { folderCatalog } from './embedded/folder-catalog.ts'
export { type S3TargetsOptions, s3Targets } from './embedded/s3-targets.ts'
export { tokenFileAuthenticator } from './embedded/token-file.ts'
export { createExportService, type ExportService, type ExportServiceOptions } from './export-service.ts'
export { type FleetQueueOptions, openFleetQueue } from './fleet/fleet-queue.ts'
export { nodeListener } from './http/node-listener.ts'
export type { ExportTrace } from './jobs/export-trace.ts'
export type {
  ExportFormat,
  ExportJob,
  JobError,
  JobProgress,
  JobRecord,
  JobResult,
  JobState,
} from './jobs/job.ts'
export { type LocalQueueOptions, openLocalQueue } from './jobs/local-queue.ts'
export { logging } from './jobs/logging.ts'
export {
  JobCancelled,
  type JobContext,
  JobFailure,
  JobInterrupted,
  type JobQueue,
  type JobRunner,
  QueueUnavailable,
  ServiceCode,
  type Submission,
} from './jobs/queue.ts'
export { exportRunner, type RunnerOptions } from './jobs/run-export.ts'
export { type Limits, limitsSchema } from './limits.ts'
export type { Log } from './log.ts'
export { Metrics } from './metrics.ts'
export { type Config, configSchema, policyOf, readConfig } from './program/config.ts'
export { runService } from './program/run-service.ts'
export { runWorker } from './program/run-worker.ts'
export { type RunningService, serve } from './program/serve.ts'
export { type RunningWorker, work } from './program/work.ts'
export type { Authenticator, Caller, CatalogSource, ExportBucket, ImageCatalog, TargetResolver } from './seams.ts'
