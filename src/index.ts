export { crc32cBackend } from './bytes/crc32c.ts'
export { DiskferryError, type ErrorCode, isDiskferryError } from './bytes/errors.ts'
export { describeFormats, type FormatDescription } from './formats/describe.ts'
export { describeExtents, type ExtentInfo, type ExtentRows } from './formats/extents.ts'
export type { DiskImage, FormatName, ImageFacts, Layout, Region } from './formats/format.ts'
export { formats, type OpenOptions, openImage, type WriterOptions } from './formats/registry.ts'
export { type Companions, folderCompanions } from './io/companions.ts'
export { stdoutTarget } from './io/descriptor-sink.ts'
export { fileSource } from './io/file-source.ts'
export { type FileTargetOptions, fileTarget } from './io/file-target.ts'
export { isS3Address, parseS3Address, type S3Address } from './io/s3/address.ts'
export { clientFromEnvironment } from './io/s3/client.ts'
export { type ObjectParameters, type S3TargetOptions, s3Target } from './io/s3/s3-target.ts'
export type { Chunk, PositionedSink, Receipt, Sink, SinkJob, StreamSink, Summary, Target } from './io/sink.ts'
export { memorySource, type Source } from './io/source.ts'
export {
  type ConversionOptions,
  type ConversionStream,
  type ConvertOptions,
  type ConvertResult,
  convert,
  convertToStream,
} from './pipeline/convert.ts'
export { type Allocation, type Inspection, type InspectOptions, inspect } from './pipeline/inspect.ts'
export { createPool, type Pool, type PoolOptions } from './pipeline/pool.ts'
export type { Phase, Progress, ProgressListener } from './pipeline/progress.ts'
export type { OpenInput, SourceInput } from './pipeline/source-input.ts'
export { checkImage, type ImageRule, type ImageViolation, imageRules } from './rules/image-safety.ts'
