export { crc32cBackend } from './bytes/crc32c.ts'
export { DiskferryError, type ErrorCode, isDiskferryError } from './bytes/errors.ts'
export { describeFormats, type FormatDescription } from './formats/describe.ts'
export { describeExtents, type ExtentInfo, type ExtentRows } from './formats/extents.ts'
export type { DiskImage, FormatName, ImageFacts, Layout, Region } from './formats/format.ts'
export { formats, type OpenOptions, openImage, type WriterOptions } from './formats/registry.ts'
export type { FileSystem } from './guest/file-systems.ts'
export type { GuestContent, Partition } from './guest/partitions.ts'
export { type Companions, folderCompanions } from './io/companions.ts'
export { stdoutTarget } from './io/descriptor-sink.ts'
export { fileSource } from './io/file-source.ts'
export { type FileTargetOptions, fileTarget } from './io/file-target.ts'
export { type HttpSourceOptions, httpSource, isHttpAddress } from './io/http/http-source.ts'
export { httpStream } from './io/http/http-stream.ts'
export type { RemoteOptions } from './io/remote/remote-source.ts'
export { isS3Address, parseS3Address, type S3Address } from './io/s3/address.ts'
export { clientFromEnvironment } from './io/s3/client.ts'
export { type S3SourceOptions, s3Source } from './io/s3/s3-source.ts'
export { type ObjectParameters, type S3TargetOptions, s3Target } from './io/s3/s3-target.ts'
export { abortUpload, listUploads, type OpenUpload } from './io/s3/uploads.ts'
export {
  type SequentialInput,
  type SequentialSource,
  type SequentialSourceOptions,
  sequentialSource,
} from './io/sequential-source.ts'
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
export { type ConvertedView, convertedView } from './pipeline/converted-view.ts'
export { DIGEST_BLOCK } from './pipeline/digest/content-digest.ts'
export { digestImage, type ImageDigest, type ReadOptions } from './pipeline/digest/digest-image.ts'
export type { ReadBack } from './pipeline/digest/read-back.ts'
export { type Verification, type VerifyOptions, verifyImages } from './pipeline/digest/verify-images.ts'
export { type DiskMap, type MapOptions, type MapSide, mapImage } from './pipeline/inspect/disk-map.ts'
export { type Allocation, type Inspection, type InspectOptions, inspect } from './pipeline/inspect/inspect.ts'
export type { RegionBar, RegionKind } from './pipeline/inspect/region-bar.ts'
export { createPool, type Pool, type PoolOptions } from './pipeline/pool.ts'
export type { Phase, Progress, ProgressListener } from './pipeline/progress.ts'
export type { ConvertSource, ImageInput, OpenInput, SourceInput } from './pipeline/source-input.ts'
export { checkImage, type ImageRule, type ImageViolation, imageRules } from './rules/image-safety.ts'
export { rangeHandler } from './service/http/range-handler.ts'
