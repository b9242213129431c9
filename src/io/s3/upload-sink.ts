import { setMaxListeners } from 'node:events'
import { Readable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import type { S3Client } from '@aws-sdk/client-s3'
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  HeadObjectCommand,
  ListPartsCommand,
  PutObjectCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'
import { crc32cToBase64 } from '../../bytes/crc32c.ts'
import { DiskferryError } from '../../bytes/errors.ts'
import { MiB } from '../../bytes/units.ts'
import type { Chunk, Receipt, SinkJob, StreamSink, Summary } from '../sink.ts'
import { formatS3Address } from './address.ts'
import { PartLedger } from './part-ledger.ts'
import type { PartPlan } from './parts.ts'
import { s3Failed } from './s3-error.ts'
import type { S3TargetOptions } from './s3-target.ts'

/** How often an abort is repeated while a part that was under way may still arrive after it. */
const ABORT_ATTEMPTS = 5
const ABORT_DELAY_MS = 200

/** Opens an append-only upload: lib-storage cuts the stream into parts and sends them. */
export function openUpload(options: S3TargetOptions, parts: PartPlan, job: SinkJob): StreamSink {
  return new UploadSink(options, parts, job)
}

/**
 * lib-storage joins chunks into a part by copying them; then their memory is free as soon as the part is on its way.
 * Chunks lie in shared memory, so what does not is a copy.
 */
function isCopy(body: unknown): boolean {
  return body instanceof Uint8Array && !(body.buffer instanceof SharedArrayBuffer)
}

class UploadSink implements StreamSink {
  readonly kind = 'stream'
  readonly partSize: number
  readonly holds: number
  readonly #options: S3TargetOptions
  readonly #ledger: PartLedger
  /** In object mode chunks come out as they went in; otherwise they would be copied together once more. */
  readonly #body = new Readable({ read: () => undefined, objectMode: true })
  readonly #requests = new AbortController()
  readonly #done: Promise<{ ETag?: string | undefined; ChecksumCRC32C?: string | undefined }>
  readonly #signal: AbortSignal
  #uploadId: string | undefined

  constructor(options: S3TargetOptions, { partSize, concurrency }: PartPlan, { size, sizeAtMost, signal }: SinkJob) {
    this.#options = options
    this.partSize = partSize
    this.holds = Math.min(sizeAtMost, partSize + MiB)
    this.#ledger = new PartLedger(partSize)
    this.#signal = signal ? AbortSignal.any([signal, this.#requests.signal]) : this.#requests.signal
    // Each request that is under way listens, however many the caller wants at once.
    setMaxListeners(0, this.#signal)
    const { bucket, key, checksums = 'crc32c', parameters } = options
    const checksum =
      checksums === 'crc32c' ? ({ ChecksumAlgorithm: 'CRC32C', ChecksumType: 'FULL_OBJECT' } as const) : {}
    const length = size === undefined ? {} : { ContentLength: size }
    const upload = new Upload({
      client: this.#overseen(options.client),
      params: { ...parameters, ...checksum, Bucket: bucket, Key: key, Body: this.#body, ...length },
      partSize,
      queueSize: concurrency,
      leavePartsOnError: true,
    })
    this.#done = upload.done()
    this.#done.catch((error) => this.#fail(error))
  }

  write(chunk: Chunk): Promise<void> {
    const acknowledged = this.#ledger.enter(chunk)
    if (!this.#body.destroyed) this.#body.push(chunk.bytes)
    return acknowledged
  }

  /** lib-storage sends the last part only when the stream has ended. */
  end(): void {
    if (!this.#body.destroyed) this.#body.push(null)
  }

  async finish(summary: Summary): Promise<Receipt> {
    try {
      const { ETag, ChecksumCRC32C } = await this.#done
      await this.#verify(summary, ChecksumCRC32C)
      return {
        location: formatS3Address(this.#options),
        ...(ETag !== undefined && { etag: ETag.replaceAll('"', '') }),
        parts: Math.max(1, this.#ledger.count),
        partSize: this.partSize,
      }
    } catch (error) {
      this.#signal.throwIfAborted()
      throw s3Failed(`uploading ${formatS3Address(this.#options)}`, error)
    }
  }

  stop(reason: unknown): void {
    this.#fail(reason)
    this.#requests.abort(reason)
  }

  async abort(reason: unknown): Promise<void> {
    this.stop(reason)
    await this.#done.catch(() => undefined)
    if (this.#uploadId !== undefined) await this.#abortUpload(this.#uploadId)
  }

  /** Stops the stream, or lib-storage would go on to upload all that is still to come. */
  #fail(error: unknown): void {
    const failure = s3Failed(`uploading ${formatS3Address(this.#options)}`, error)
    this.#ledger.fail(failure)
    this.#body.destroy(failure)
  }

  /**
   * The caller's client, seen by lib-storage through a window: each request gets the checksum that the worker computed,
   * and we learn which upload was begun and which part has arrived. The client itself is left as it is.
   */
  #overseen(client: S3Client): S3Client {
    const send = (command: unknown) => this.#send(client, command as Parameters<S3Client['send']>[0])
    return Object.create(client, { send: { value: send } }) as S3Client
  }

  async #send(client: S3Client, command: unknown): Promise<unknown> {
    try {
      if (command instanceof CreateMultipartUploadCommand) return await this.#create(client, command)
      if (command instanceof UploadPartCommand) return await this.#uploadPart(client, command)
      if (command instanceof PutObjectCommand) return await this.#put(client, command)
      if (command instanceof CompleteMultipartUploadCommand) return await this.#complete(client, command)
      throw new DiskferryError('plan-violated', 'lib-storage sent a request that was not foreseen')
    } catch (error) {
      this.#fail(error)
      throw error
    }
  }

  /** Not aborted on the way: the upload might have been begun without our knowing its id. */
  async #create(client: S3Client, command: CreateMultipartUploadCommand): Promise<unknown> {
    const created = await client.send(command)
    this.#uploadId = created.UploadId
    return created
  }

  async #uploadPart(client: S3Client, command: UploadPartCommand): Promise<unknown> {
    const number = command.input.PartNumber as number
    if (this.#sendsChecksums) command.input.ChecksumCRC32C = this.#ledger.checksum(number)
    if (isCopy(command.input.Body)) this.#ledger.release(number)
    const uploaded = await client.send(command, { abortSignal: this.#signal })
    this.#ledger.release(number)
    return uploaded
  }

  /** An object that fits one part is put at once. */
  async #put(client: S3Client, command: PutObjectCommand): Promise<unknown> {
    if (this.#sendsChecksums) command.input.ChecksumCRC32C = this.#ledger.whole()
    const put = await client.send(command, { abortSignal: this.#signal })
    this.#ledger.release(1)
    return put
  }

  /** Not aborted on the way: nobody could tell whether the object is there or not. */
  async #complete(client: S3Client, command: CompleteMultipartUploadCommand): Promise<unknown> {
    this.#signal.throwIfAborted()
    if (this.#sendsChecksums) command.input.ChecksumCRC32C = this.#ledger.whole()
    return client.send(command)
  }

  get #sendsChecksums(): boolean {
    return this.#options.checksums !== 'none'
  }

  /**
   * Holds what the store says it has against what was sent. A damaged object does not stay. A store that answered with
   * the right checksum is not asked again: not all who may write may read.
   */
  async #verify({ size, crc32c }: Summary, answered: string | undefined): Promise<void> {
    const { client, bucket: Bucket, key: Key } = this.#options
    if (answered === crc32cToBase64(crc32c)) return
    const head = await client.send(new HeadObjectCommand({ Bucket, Key, ChecksumMode: 'ENABLED' }))
    const checksum = answered ?? head.ChecksumCRC32C
    const expected = checksum?.includes('-') ? this.#ledger.composite() : crc32cToBase64(crc32c)
    if (head.ContentLength === size && (checksum === undefined || checksum === expected)) return
    await client.send(new DeleteObjectCommand({ Bucket, Key }))
    const found = `${head.ContentLength} bytes, CRC32C ${checksum ?? 'unknown'}`
    throw new DiskferryError('checksum-mismatch', `the store does not have what was sent: ${found}`, {
      found,
      expected: `${size} bytes, CRC32C ${expected}`,
      hint: 'the object was removed: try again',
    })
  }

  /** A part that was on its way may arrive after an abort and keep the upload alive: abort until it is gone. */
  async #abortUpload(UploadId: string): Promise<void> {
    const { client, bucket: Bucket, key: Key } = this.#options
    for (let attempt = 1; attempt <= ABORT_ATTEMPTS; attempt++) {
      try {
        await client.send(new AbortMultipartUploadCommand({ Bucket, Key, UploadId }))
        await client.send(new ListPartsCommand({ Bucket, Key, UploadId, MaxParts: 1 }))
      } catch (error) {
        if ((error as { name?: string }).name === 'NoSuchUpload') return
        if (attempt === ABORT_ATTEMPTS) throw s3Failed(`aborting the upload ${UploadId}`, error)
      }
      await delay(attempt * ABORT_DELAY_MS)
    }
  }
}
