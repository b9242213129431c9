import { setMaxListeners } from 'node:events'
import type { CompletedPart } from '@aws-sdk/client-s3'
import { crc32cFromBase64 } from '../../bytes/crc32c.ts'
import { MiB } from '../../bytes/units.ts'
import { Limiter } from '../remote/limiter.ts'
import type { Chunk, KeptRun, Receipt, SinkJob, StreamSink, Summary } from '../sink.ts'
import { formatS3Address } from './address.ts'
import { type JobNote, NO_NOTE, noteOf } from './job-note.ts'
import type { ListedPart } from './leftovers.ts'
import { type Body, ObjectUpload, type Taken, uploadFailed } from './object-upload.ts'
import { PartLedger } from './part-ledger.ts'
import { type PartPlan, partSizeAt } from './parts.ts'
import { agrees, findUnfinished, removeOthers, type Unfinished } from './resume.ts'
import type { S3TargetOptions } from './s3-target.ts'

/** Opens an upload part by part: chunks go out as they are, in parts that may end in any order. */
export async function openParts(options: S3TargetOptions, plan: PartPlan, job: SinkJob): Promise<StreamSink> {
  const sink = new PartSink(options, plan, job)
  await sink.begin()
  return sink
}

/** A part whose bytes are coming. */
interface OpenPart {
  readonly number: number
  readonly size: number
  readonly chunks: Uint8Array[]
  length: number
}

class PartSink implements StreamSink {
  readonly kind = 'stream'
  readonly partSize: number
  readonly head?: (bytes: Uint8Array, crc32c: number, replaced: number) => void
  readonly #options: S3TargetOptions
  readonly #plan: PartPlan
  readonly #job: SinkJob
  readonly #object: ObjectUpload
  readonly #ledger = new PartLedger()
  readonly #stopped = new AbortController()
  readonly #signal: AbortSignal
  readonly #limiter: Limiter
  readonly #sending = new Set<Promise<void>>()
  readonly #completed: CompletedPart[] = []
  /** Lies in the last part's place until that is sent. */
  #note: JobNote | undefined
  #unfinished: Unfinished = { resumable: undefined, all: [] }
  /** Resolves when there is an upload to send parts to. */
  #begun: Promise<unknown> | undefined
  #current: OpenPart
  /** The first part, where its head is still to come. */
  #held: OpenPart | undefined
  /** An object of one part, in memory of its own: it gets its name with its bytes, so it waits for `finish`. */
  #single: OpenPart | undefined
  #resumedBytes = 0

  constructor(options: S3TargetOptions, plan: PartPlan, job: SinkJob) {
    this.#options = options
    this.#plan = plan
    this.partSize = plan.partSize
    this.#job = job
    this.#signal = job.signal ? AbortSignal.any([job.signal, this.#stopped.signal]) : this.#stopped.signal
    // Each request that is under way listens, however many the caller wants at once.
    setMaxListeners(0, this.#signal)
    this.#object = new ObjectUpload(options, job, this.#signal)
    this.#limiter = new Limiter(plan.concurrency)
    this.#current = this.#openPart(1)
    if (job.lateHead) {
      this.#held = this.#current
      this.head = (bytes, crc32c, replaced) => this.#replaceHead(bytes, crc32c, replaced)
    }
  }

  /** All parts under way, and the one whose bytes are coming. */
  get holds(): number {
    return Math.min(this.#job.sizeAtMost, (this.#plan.concurrency + 1) * this.#current.size + MiB)
  }

  async begin(): Promise<void> {
    try {
      await this.#object.assertFree()
      if (this.#options.resume) await this.#findUnfinished()
    } catch (error) {
      this.#job.signal?.throwIfAborted()
      throw uploadFailed(this.#options, error)
    }
  }

  async #findUnfinished(): Promise<void> {
    if (this.#object.sendsChecksums) this.#note = await noteOf(this.#job, this.#plan)
    this.#unfinished = await findUnfinished(this.#object.patient, this.#options, this.#plan, this.#note)
    const { resumable, all } = this.#unfinished
    // What it is to say of its source, an upload must have been begun with.
    if (this.#job.digest !== undefined && !resumable?.isOurs) this.#unfinished = { resumable: undefined, all }
    if (!resumable?.isOurs) return
    this.#object.adopt(resumable.uploadId)
    this.#begun = Promise.resolve()
  }

  /** A part of this very job whose checksum the store tells. */
  kept(offset: number): KeptRun | undefined {
    const { resumable } = this.#unfinished
    if (!resumable?.isOurs) return undefined
    const number = Math.floor(offset / this.partSize) + 1
    const { crc32c: listed, size: length = 0 } = resumable.parts.get(number) ?? {}
    const crc32c = listed === undefined ? undefined : crc32cFromBase64(listed)
    return crc32c === undefined ? undefined : { offset: (number - 1) * this.partSize, length, crc32c }
  }

  /** It is never the last one: in its place there is a note. */
  pass(run: KeptRun): void {
    if (this.#current.length > 0) this.#next()
    const { number } = this.#current
    this.#ledger.pass(number, run)
    this.#keep(number, run.length)
    this.#current = this.#openPart(number + 1)
  }

  write({ bytes, crc32c }: Chunk): Promise<void> {
    if (this.#current.length === this.#current.size) this.#next()
    const part = this.#current
    const acknowledged = this.#ledger.enter(part.number, { bytes, crc32c })
    const isHeld = part === this.#held
    part.chunks.push(isHeld ? Buffer.from(bytes) : bytes)
    part.length += bytes.length
    if (isHeld) this.#ledger.release(part.number)
    return acknowledged
  }

  /** The last part goes out, and one that was held back. */
  end(): void {
    if (this.#stopped.signal.aborted) return
    if (this.#current.number === 1) {
      const { chunks, ...part } = this.#current
      this.#single = { ...part, chunks: chunks.map((chunk) => Buffer.from(chunk)) }
      this.#ledger.release(1)
      return
    }
    if (this.#current !== this.#held) this.#dispatch(this.#current, this.#note && Promise.all(this.#sending))
    if (this.#held) this.#dispatch(this.#held)
  }

  async finish(summary: Summary): Promise<Receipt> {
    try {
      while (this.#sending.size > 0) await Promise.all(this.#sending)
      const single = this.#single && (await this.#object.put(this.#body(this.#single)))
      const taken = single ?? (await this.#complete(summary))
      await this.#object.verify(summary, taken.ChecksumCRC32C, this.#ledger.composite())
      const { resumable } = this.#unfinished
      if (resumable !== undefined && !resumable.isOurs && single === undefined) await this.#object.assertNoDigest()
      await removeOthers(this.#object.patient, this.#options.bucket, this.#unfinished.all, this.#object.uploadId)
      return {
        location: formatS3Address(this.#options),
        ...(taken.ETag !== undefined && { etag: taken.ETag.replaceAll('"', '') }),
        parts: Math.max(1, this.#ledger.count),
        partSize: this.partSize,
        ...(this.#options.resume && { resumedBytes: this.#resumedBytes }),
      }
    } catch (error) {
      this.#job.signal?.throwIfAborted()
      throw uploadFailed(this.#options, error)
    }
  }

  stop(reason: unknown): void {
    this.#ledger.fail(uploadFailed(this.#options, reason))
    this.#stopped.abort(reason)
  }

  /** With `resume`, what has arrived stays for the next attempt. */
  async abort(reason: unknown): Promise<void> {
    this.stop(reason)
    await Promise.allSettled(this.#sending)
    await this.#begun?.catch(() => undefined)
    if (!this.#options.resume) await this.#object.abort()
  }

  #openPart(number: number): OpenPart {
    return { number, size: partSizeAt(this.#plan, number), chunks: [], length: 0 }
  }

  #next(): void {
    const full = this.#current
    this.#current = this.#openPart(full.number + 1)
    if (full !== this.#held) this.#dispatch(full)
  }

  #dispatch(part: OpenPart, after?: Promise<unknown>): void {
    this.#start(async () => {
      await after
      await this.#limiter.run(() => this.#send(part))
      this.#ledger.release(part.number)
      part.chunks.length = 0
    })
  }

  /** Something fails: whoever waits is told, and no further request begins. */
  #start(work: () => Promise<void>): void {
    const working = work()
      .catch((error) => {
        this.stop(error)
        throw error
      })
      .finally(() => this.#sending.delete(working))
    working.catch(() => undefined)
    this.#sending.add(working)
  }

  async #send(part: OpenPart): Promise<void> {
    this.#signal.throwIfAborted()
    const body = this.#body(part)
    const listed = this.#listed(part.number)
    const isThere = listed !== undefined && agrees(listed, body)
    this.#begun ??= this.#beginOrAdopt(listed === undefined || isThere)
    await this.#begun
    if (isThere) this.#keep(part.number, body.length)
    else this.#noteTaken(part.number, await this.#object.part(part.number, body))
  }

  #keep(number: number, length: number): void {
    const { etag: ETag, crc32c: ChecksumCRC32C } = this.#listed(number) as ListedPart
    this.#resumedBytes += length
    this.#noteTaken(number, { ETag, ChecksumCRC32C })
  }

  #listed(number: number): ListedPart | undefined {
    return this.#unfinished.resumable?.parts.get(number)
  }

  /** An upload whose part differs from the first one that is made anew is not this job's: it is not gone on with. */
  async #beginOrAdopt(mayBeOurs: boolean): Promise<void> {
    const { resumable, all } = this.#unfinished
    if (resumable !== undefined && mayBeOurs) {
      this.#object.adopt(resumable.uploadId)
      this.#note = undefined
      if (resumable.short !== undefined) await this.#object.part(resumable.short, NO_NOTE)
      return
    }
    this.#unfinished = { resumable: undefined, all }
    await this.#object.begin()
    if (this.#note !== undefined) await this.#object.part(this.#note.number, this.#note.body)
  }

  #body({ number, chunks, length }: OpenPart): Body {
    return { chunks, length, crc32c: this.#ledger.checksum(number) }
  }

  #complete(summary: Summary): Promise<Taken> {
    const ascending = this.#completed.toSorted((a, b) => (a.PartNumber as number) - (b.PartNumber as number))
    return this.#object.complete(ascending, summary)
  }

  #replaceHead(bytes: Uint8Array, crc32c: number, replaced: number): void {
    if (this.#held === undefined) return
    this.#held.chunks[0] = bytes
    this.#ledger.replaceHead(bytes.length, replaced, crc32c)
  }

  #noteTaken(PartNumber: number, { ETag, ChecksumCRC32C }: Taken): void {
    this.#completed.push({ PartNumber, ETag, ...(ChecksumCRC32C !== undefined && { ChecksumCRC32C }) })
  }
}
