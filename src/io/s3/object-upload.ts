import { randomUUID } from 'node:crypto'
import type { CompletedPart, CreateMultipartUploadCommandInput, S3Client } from '@aws-sdk/client-s3'
import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { crc32cToBase64 } from '../../bytes/crc32c.ts'
import { DiskferryError } from '../../bytes/errors.ts'
import { DEFAULT_POLICY, type RetryPolicy } from '../remote/retry.ts'
import type { SinkJob, Summary } from '../sink.ts'
import { formatS3Address } from './address.ts'
import { attempting, isAmbiguous, nameOf, patient, statusOf } from './attempts.ts'
import { type PayloadSigning, PLACEHOLDER, payloadHash, withBody } from './body.ts'
import { abortUpload, sweepUnheard } from './leftovers.ts'
import { s3Failed } from './s3-error.ts'
import type { S3TargetOptions } from './s3-target.ts'

/** Metadata of every object: which job made it. */
const PLAN = 'diskferry-plan'
/** Metadata of objects whose checksum is known before they are begun. */
const CHECKSUM = 'diskferry-crc32c'
/** Metadata of objects whose source's disk has been digested: what `diskferry digest` prints of it. */
const DIGEST = 'diskferry-digest'

/** What a store says of something that it has taken. */
export interface Taken {
  readonly ETag?: string | undefined
  readonly ChecksumCRC32C?: string | undefined
}

export interface Body {
  readonly chunks: readonly Uint8Array[]
  readonly length: number
  readonly crc32c: string
}

/** The requests that bring one object into being: each bounded in time, and repeated where that may help. */
export class ObjectUpload {
  readonly #options: S3TargetOptions
  readonly #policy: RetryPolicy
  readonly #signal: AbortSignal
  readonly #plan: string
  readonly #digest: string | undefined
  #uploadId: string | undefined

  constructor(options: S3TargetOptions, { fingerprint, digest }: SinkJob, signal: AbortSignal) {
    this.#options = options
    this.#policy = { ...DEFAULT_POLICY, ...options.retry }
    this.#signal = signal
    this.#plan = fingerprint ?? randomUUID()
    this.#digest = digest
  }

  get client(): S3Client {
    return this.#options.client
  }

  /** For what is asked in a few bytes. */
  get patient(): S3Client {
    return patient(this.#options.client, this.#policy)
  }

  get uploadId(): string | undefined {
    return this.#uploadId
  }

  get sendsChecksums(): boolean {
    return this.#options.checksums !== 'none'
  }

  /** Goes on with an upload that is there. */
  adopt(uploadId: string): void {
    this.#uploadId = uploadId
  }

  /** A store that does not say whether there is an object is taken at its word later, by the condition. */
  async assertFree(): Promise<void> {
    if (this.#options.overwrite) return
    const found = await this.#head().catch((error) => {
      if (statusOf(error) === undefined || statusOf(error) === 500 || statusOf(error) === 503) throw error
      return undefined
    })
    if (found !== undefined) throw this.#exists()
  }

  /** Begins an upload; not aborted on the way, or there might be one whose id nobody knows. */
  async begin(): Promise<string> {
    const started = Date.now()
    let attempts = 0
    try {
      const { UploadId, $metadata } = await this.#unaborted((abortSignal) => {
        attempts += 1
        return this.client.send(new CreateMultipartUploadCommand(this.createInput()), { abortSignal })
      })
      this.#uploadId = UploadId as string
      attempts += ($metadata.attempts ?? 1) - 1
    } catch (error) {
      if (isAmbiguous(error)) await this.#sweep(started)
      throw error
    }
    if (attempts > 1) await this.#sweep(started)
    return this.#uploadId
  }

  createInput(): CreateMultipartUploadCommandInput {
    const { IfNoneMatch: _, IfMatch: __, ContentMD5: ___, ...parameters } = this.#parameters({})
    const checksum = { ChecksumAlgorithm: 'CRC32C', ChecksumType: 'FULL_OBJECT' } as const
    return { ...parameters, ...(this.sendsChecksums && checksum), ...this.#place }
  }

  async part(number: number, body: Body): Promise<Taken> {
    const taken = await this.#sending(body, () => {
      return new UploadPartCommand({
        ...this.#place,
        UploadId: this.#uploadId,
        PartNumber: number,
        Body: PLACEHOLDER,
        ContentLength: body.length,
        ...(this.sendsChecksums && { ChecksumCRC32C: body.crc32c }),
      })
    })
    this.#assertSame(`part ${number}`, taken, body)
    return taken
  }

  /** An object that fits one part is put at once. */
  async put(body: Body): Promise<Taken> {
    const checksum = { ChecksumAlgorithm: 'CRC32C', ChecksumCRC32C: body.crc32c } as const
    const put = (condition: object) =>
      this.#sending(body, () => {
        return new PutObjectCommand({
          ...this.#parameters({ [CHECKSUM]: body.crc32c }),
          ...condition,
          ...this.#place,
          Body: PLACEHOLDER,
          ContentLength: body.length,
          ...(this.sendsChecksums && checksum),
        })
      })
    return this.#conditionally(put, body.length)
  }

  /** Not aborted on the way: nobody could tell whether the object is there or not. */
  async complete(parts: readonly CompletedPart[], { size, crc32c }: Summary): Promise<Taken> {
    this.#signal.throwIfAborted()
    await this.assertFree()
    const complete = (condition: object) =>
      this.#unaborted((abortSignal) => {
        const command = new CompleteMultipartUploadCommand({
          ...this.#place,
          ...condition,
          UploadId: this.#uploadId,
          MultipartUpload: { Parts: [...parts] },
          ...(this.sendsChecksums && { ChecksumCRC32C: crc32cToBase64(crc32c) }),
        })
        return this.client.send(command, { abortSignal })
      })
    return this.#conditionally(complete, size)
  }

  /**
   * Holds what the store says it has against what was sent. A damaged object does not stay. A store that answered with
   * the right checksum is not asked again: not all who may write may read.
   */
  async verify({ size, crc32c }: Summary, answered: string | undefined, composite: string): Promise<void> {
    if (answered === crc32cToBase64(crc32c)) return
    const head = await this.#head()
    const checksum = answered ?? head?.ChecksumCRC32C
    const expected = checksum?.includes('-') ? composite : crc32cToBase64(crc32c)
    if (head?.ContentLength === size && (checksum === undefined || checksum === expected)) return
    await this.#remove()
    const found = `${head?.ContentLength} bytes, CRC32C ${checksum ?? 'unknown'}`
    throw new DiskferryError('checksum-mismatch', `the store does not have what was sent: ${found}`, {
      found,
      expected: `${size} bytes, CRC32C ${expected}`,
      hint: 'the object was removed: try again',
    })
  }

  /**
   * An object has the metadata that its upload was begun with: what another job said of its source must not stay. Who may
   * not read can't tell.
   */
  async assertNoDigest(): Promise<void> {
    const head = await this.#head().catch((error) => {
      if (statusOf(error) !== 403) throw error
    })
    const found = head?.Metadata?.[DIGEST]
    if (found === undefined) return
    await this.#remove()
    const message = 'the upload that was gone on with had been begun with a digest, and nobody knows of which source'
    throw new DiskferryError('checksum-mismatch', message, { found, hint: 'the object was removed: try again' })
  }

  async #remove(): Promise<void> {
    await this.#unaborted((abortSignal) => this.client.send(new DeleteObjectCommand(this.#place), { abortSignal }))
  }

  async abort(): Promise<void> {
    if (this.#uploadId === undefined) return
    await abortUpload(this.patient, this.#options.bucket, { key: this.#options.key, uploadId: this.#uploadId })
  }

  get #place() {
    return { Bucket: this.#options.bucket, Key: this.#options.key }
  }

  #parameters(metadata: Record<string, string>) {
    const { parameters = {} } = this.#options
    const digest = this.#digest === undefined ? {} : { [DIGEST]: this.#digest }
    return { ...parameters, Metadata: { ...parameters.Metadata, [PLAN]: this.#plan, ...digest, ...metadata } }
  }

  /** Removes uploads whose beginning nobody was told of, since the answer was lost: they are as old as ours, and empty. */
  async #sweep(started: number): Promise<void> {
    const { bucket, key } = this.#options
    const { uploadId } = this
    await sweepUnheard(this.patient, bucket, { key, uploadId, elapsedMs: Date.now() - started }).catch(() => undefined)
  }

  async #head() {
    try {
      return await this.#unaborted((abortSignal) =>
        this.client.send(new HeadObjectCommand({ ...this.#place, ChecksumMode: 'ENABLED' }), { abortSignal }),
      )
    } catch (error) {
      if (statusOf(error) === 404) return undefined
      throw error
    }
  }

  /**
   * Makes the object visible, and only where there was none, as far as the store can tell. When the answer was lost, a
   * repetition is refused: then the object itself tells whether it is the one that was meant.
   */
  async #conditionally(request: (condition: object) => Promise<Taken>, size: number): Promise<Taken> {
    const condition = this.#options.overwrite ? {} : { IfNoneMatch: '*' }
    try {
      return await request(condition).catch((error) => {
        if (statusOf(error) !== 501 || this.#options.overwrite) throw error
        return request({})
      })
    } catch (error) {
      if (this.#signal.aborted || !(isAmbiguous(error) || isRefusedRepetition(error))) throw error
      const head = await this.#head().catch(() => undefined)
      if (head?.ContentLength === size && head.Metadata?.[PLAN] === this.#plan) {
        await this.abort()
        return head
      }
      throw statusOf(error) === 412 ? this.#exists(error) : error
    }
  }

  #exists(cause?: unknown): DiskferryError {
    const message = `there is an object already: ${formatS3Address(this.#options)}`
    const hint = 'choose another key, or allow it to be replaced (--force, overwrite: true)'
    return new DiskferryError('target-exists', message, { hint, cause })
  }

  #sending({ chunks }: Body, make: () => UploadPartCommand | PutObjectCommand): Promise<Taken> {
    const hash = payloadHash(chunks, this.#signing)
    return attempting(this.#policy, this.#signal, (deadline) => {
      const onRead = () => deadline.progress()
      const command = withBody(make(), chunks, { hash, keepsChecksum: this.sendsChecksums, onRead })
      return this.client.send(command, { abortSignal: deadline.signal })
    })
  }

  get #signing(): PayloadSigning {
    return this.#options.payload ?? (this.sendsChecksums ? 'unsigned' : 'sha256')
  }

  #unaborted<T>(request: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { requestTimeoutMs } = this.#policy
    const policy = { ...this.#policy, stallTimeoutMs: requestTimeoutMs }
    return attempting(policy, new AbortController().signal, (deadline) => request(deadline.signal))
  }

  #assertSame(what: string, { ChecksumCRC32C: found }: Taken, { crc32c: expected }: Body): void {
    if (found === undefined || found === expected) return
    const message = `the store has other bytes of ${what} than were sent`
    throw new DiskferryError('checksum-mismatch', message, { found, expected, hint: 'try again' })
  }
}

/** What a request is refused with that has succeeded before. */
function isRefusedRepetition(error: unknown): boolean {
  return statusOf(error) === 412 || nameOf(error) === 'NoSuchUpload' || statusOf(error) === 404
}

/** An error of this place as diskferry's own. */
export function uploadFailed(options: S3TargetOptions, error: unknown): DiskferryError {
  return s3Failed(`uploading ${formatS3Address(options)}`, error)
}
