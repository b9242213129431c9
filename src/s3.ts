/* What `diskferry/s3` gives: the store, for those who need nothing else of the package. */

export { isS3Address, parseS3Address, type S3Address } from './io/s3/address.ts'
export { type StoreCapabilities, tryStore } from './io/s3/capabilities.ts'
export { clientFromEnvironment } from './io/s3/client.ts'
export { type S3SourceOptions, s3Source } from './io/s3/s3-source.ts'
export { type ObjectParameters, type S3TargetOptions, s3Target } from './io/s3/s3-target.ts'
export { abortUpload, listUploads, type OpenUpload } from './io/s3/uploads.ts'
