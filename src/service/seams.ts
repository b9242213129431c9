import type { BucketAnswer, ObjectAnswer } from '../io/s3/bucket.ts'
import type { Target } from '../io/sink.ts'
import type { OpenInput, SourceInput } from '../pipeline/source-input.ts'
import type { ImageRecord } from '../rules/image-record.ts'

/** Who calls. */
export interface Caller {
  /** Images and jobs belong to a project; a caller sees those of its own. */
  readonly project: string
  readonly roles: readonly string[]
}

export interface Authenticator {
  /** Undefined for a token that is not, or no longer, good. */
  authenticate(token: string): Promise<Caller | undefined>
}

/** Where an image's bytes are, on the machine that asks: worker and API may each have their own way to them. */
export interface CatalogSource extends OpenInput {
  readonly source: SourceInput
}

export interface ImageCatalog {
  /** Undefined when there is no such image. Who may see it is for the caller to decide. */
  find(imageId: string): Promise<ImageRecord | undefined>
  /** Every image, for the list that a person chooses from. */
  list(): AsyncIterable<ImageRecord>
  /** @throws DiskferryError `source-unreadable` when there is no such image, or its file is gone */
  source(imageId: string): Promise<CatalogSource>
}

export interface TargetResolver {
  /** Does no I/O that fails for want of the bucket: `facts` says what is wrong with it. */
  resolve(bucket: string, project: string): Promise<ExportBucket>
}

/** A bucket that objects are put into. */
export interface ExportBucket {
  facts(): Promise<BucketAnswer>
  /** Undefined when there is no such object. */
  head(key: string): Promise<ObjectAnswer | undefined>
  /** Aborts uploads to the key that were begun since then: whoever began them is gone. */
  abortUploads(key: string, since: Date): Promise<void>
  /**
   * The object's metadata is stored with it: by it a job knows its own object again. With `resume`, what an earlier attempt
   * has brought there is gone on with, and stays when this one fails.
   */
  target(key: string, metadata: Readonly<Record<string, string>>, options: { readonly resume: boolean }): Target
}
