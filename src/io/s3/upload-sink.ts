import { setMaxListeners } from 'node:events'
import { Readable } from 'node:stream'
import type { S3Client } from '@aws-sdk/client-s3'
import {
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  PutObjectCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'
import { crc32cToBase64 } from '../../bytes/crc32c.ts'
import { DiskferryError } from '../../bytes/errors.ts'
import { MiB } from '../../bytes/units.ts'
import type { Chunk, Receipt, SinkJob, StreamSink, Summary } from '../sink.ts'
import { formatS3Address } from './address.ts'
import { type Body, ObjectUpload, type Taken, uploadFailed } from './object-upload.ts'
import { PartLedger } from './part-ledger.ts'
import type { PartPlan } from './parts.ts'
import type { S3TargetOptions } from './s3-target.ts'

/** Opens an append-only upload: lib-storage cuts the stream into parts and sends them. */
export async function openUpload(options: S3TargetOptions, plan: PartPlan, job: SinkJob): Promise<StreamSink> {
  const sink = new UploadSink(options, plan, job)
  await sink.begin()
  return sink
}

class UploadSink implements StreamSink {
  readonly kind = 'stream'
  readonly partSize: number
  readonly holds: number
  readonly #options: S3TargetOptions
  readonly #concurrency: number
  readonly #object: ObjectUpload
  readonly #ledger = new PartLedger()
  /** In object mode chunks come out as they went in; otherwise they would be copied together once more. */
  readonly #body = new Readable({ read: () => undefined, objectMode: true })
  readonly #chunks = new WeakSet<Uint8Array>()
  readonly #requests = new AbortController()
  readonly #signal: AbortSignal
  /** An object becomes visible no earlier than in `finish`: until then the source may turn out to have changed. */
  readonly #visible = new Gate()
  #done: Promise<Taken> = Promise.resolve({})
  #size = 0

  constructor(options: S3TargetOptions, { partSize, concurrency }: PartPlan, job: SinkJob) {
    this.#options = options
    this.partSize = partSize
    this.#concurrency = concurrency
    this.holds = Math.min(job.sizeAtMost, partSize + MiB)
    const { signal } = job
    this.#signal = signal ? AbortSignal.any([signal, this.#requests.signal]) : this.#requests.signal
    // Each request that is under way listens, however many the caller wants at once.
    setMaxListeners(0, this.#signal)
    this.#object = new ObjectUpload(options, job, this.#signal)
  }

  async begin(): Promise<void> {
    await this.#object.assertFree().catch((error) => {
      this.#signal.throwIfAborted()
      throw uploadFailed(this.#options, error)
    })
    const { bucket: Bucket, key: Key } = this.#options
    const upload = new Upload({
      client: this.#overseen(this.#options.client),
      params: { Bucket, Key, Body: this.#body },
      partSize: this.partSize,
      queueSize: this.#concurrency,
      leavePartsOnError: true,
    })
    this.#done = upload.done()
    this.#done.catch((error) => this.#fail(error))
  }

  write(chunk: Chunk): Promise<void> {
    const acknowledged = this.#ledger.enter(Math.floor(chunk.offset / this.partSize) + 1, chunk)
    this.#chunks.add(chunk.bytes)
    this.#size += chunk.bytes.length
    if (!this.#body.destroyed) this.#body.push(chunk.bytes)
    return acknowledged
  }

  /** lib-storage sends the last part only when the stream has ended. */
  end(): void {
    if (!this.#body.destroyed) this.#body.push(null)
  }

  async finish(summary: Summary): Promise<Receipt> {
    try {
      this.#visible.open()
      const { ETag, ChecksumCRC32C } = await this.#done
      await this.#object.verify(summary, ChecksumCRC32C, this.#ledger.composite())
      return {
        location: formatS3Address(this.#options),
        ...(ETag !== undefined && { etag: ETag.replaceAll('"', '') }),
        parts: Math.max(1, this.#ledger.count),
        partSize: this.partSize,
      }
    } catch (error) {
      this.#signal.throwIfAborted()
      throw uploadFailed(this.#options, error)
    }
  }

  stop(reason: unknown): void {
    this.#fail(reason)
    this.#requests.abort(reason)
  }

  async abort(reason: unknown): Promise<void> {
    this.stop(reason)
    await this.#done.catch(() => undefined)
    await this.#object.abort()
  }

  /** Stops the stream, or lib-storage would go on to upload all that is still to come. */
  #fail(error: unknown): void {
    const failure = uploadFailed(this.#options, error)
    this.#ledger.fail(failure)
    this.#visible.fail(failure)
    this.#body.destroy(failure)
  }

  /**
   * The caller's client, seen by lib-storage through a window: what it wants sent is sent as all other uploads are, with
   * the checksum that the worker computed, and we learn which part has arrived. The client itself is left as it is.
   */
  #overseen(client: S3Client): S3Client {
    const send = (command: unknown) => this.#send(command)
    return Object.create(client, { send: { value: send } }) as S3Client
  }

  async #send(command: unknown): Promise<unknown> {
    try {
      if (command instanceof CreateMultipartUploadCommand) return { UploadId: await this.#object.begin() }
      if (command instanceof UploadPartCommand) return await this.#uploadPart(command)
      if (command instanceof PutObjectCommand) return await this.#put(command)
      if (command instanceof CompleteMultipartUploadCommand) return await this.#complete(command)
      throw new DiskferryError('plan-violated', 'lib-storage sent a request that was not foreseen')
    } catch (error) {
      this.#fail(error)
      throw error
    }
  }

  async #uploadPart({ input }: UploadPartCommand): Promise<Taken> {
    const number = input.PartNumber as number
    if (this.#isCopy(input.Body)) this.#ledger.release(number)
    const taken = await this.#object.part(number, this.#bodyOf(input.Body, this.#ledger.checksum(number)))
    this.#ledger.release(number)
    return taken
  }

  async #put({ input }: PutObjectCommand): Promise<Taken> {
    const bytes = input.Body instanceof Uint8Array ? Buffer.from(input.Body) : Buffer.alloc(0)
    this.#ledger.release(1)
    await this.#visible.passed
    return await this.#object.put(this.#bodyOf(bytes, crc32cToBase64(this.#ledger.whole())))
  }

  async #complete({ input }: CompleteMultipartUploadCommand): Promise<Taken> {
    await this.#visible.passed
    const parts: CompletedPart[] = input.MultipartUpload?.Parts ?? []
    return this.#object.complete(parts, { size: this.#size, crc32c: this.#ledger.whole() })
  }

  /**
   * lib-storage joins chunks into a part by copying them; then their memory is free as soon as the part is on its way.
   * A part of one chunk it hands on as it is.
   */
  #isCopy(body: unknown): boolean {
    return body instanceof Uint8Array && !this.#chunks.has(body)
  }

  #bodyOf(body: unknown, crc32c: string): Body {
    const bytes = body instanceof Uint8Array ? body : Buffer.alloc(0)
    return { chunks: [bytes], length: bytes.length, crc32c }
  }
}

/** Holds up whoever waits for it until it is opened, or fails. */
class Gate {
  open: () => void = () => undefined
  fail: (error: unknown) => void = () => undefined
  readonly passed = new Promise<void>((resolve, reject) => {
    this.open = resolve
    this.fail = reject
  })

  constructor() {
    this.passed.catch(() => undefined)
  }
}
