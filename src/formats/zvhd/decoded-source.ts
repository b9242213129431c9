import { promisify } from 'node:util'
import { constants, inflateRaw } from 'node:zlib'
import { DiskferryError } from '../../bytes/errors.ts'
import { readExactly, type Source } from '../../io/source.ts'
import type { RecordTable } from './records.ts'
import { BLOCK_SIZE } from './spec.ts'

const inflate = promisify<Uint8Array, object, Buffer>(inflateRaw)

/** How far back deflate can refer. */
const WINDOW_SIZE = 32 * 1024
/** Bytes of the zlib header in front of the first record's payload. */
const ZLIB_HEADER_SIZE = 2
/** Decoded blocks that are kept: those that readers are at, and those read ahead. */
const KEPT_BLOCKS = 12
const READ_AHEAD = 3
/** One window in so many records is kept, so that going back does not begin at the first record. */
const CHECKPOINT = 1024

/**
 * The blocks of a ZVHD, inflated, one behind the other: block `i` of the source is record `i`.
 *
 * All payloads together are one deflate stream. A record that refers back into the one before can be inflated only
 * after it; one that does not can be inflated at once, and which it is, inflating tells: zlib refuses a distance that
 * reaches back too far. So every record is first tried on its own, several at a time, in the threads that Node keeps
 * for zlib; only the ones that need it wait.
 */
export class DecodedSource implements Source {
  readonly size: number
  readonly name: string
  readonly #source: Source
  readonly #records: RecordTable
  readonly #blocks = new Map<number, Promise<Uint8Array>>()
  readonly #windows = new Map<number, Uint8Array>()

  constructor(source: Source, records: RecordTable) {
    this.#source = source
    this.#records = records
    this.size = records.count * BLOCK_SIZE
    this.name = source.name ?? 'ZVHD'
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    const first = Math.floor(offset / BLOCK_SIZE)
    const last = Math.floor((offset + length - 1) / BLOCK_SIZE)
    const pieces: Uint8Array[] = []
    for (let record = first; record <= last; record++) {
      const block = await this.#block(record)
      this.#readAhead(record)
      const from = Math.max(0, offset - record * BLOCK_SIZE)
      pieces.push(block.subarray(from, Math.min(BLOCK_SIZE, offset + length - record * BLOCK_SIZE)))
    }
    return pieces.length === 1 ? (pieces[0] as Uint8Array) : Buffer.concat(pieces)
  }

  async assertUnchanged(): Promise<void> {
    await this.#source.assertUnchanged?.()
  }

  #readAhead(record: number): void {
    const end = Math.min(this.#records.count, record + 1 + READ_AHEAD)
    for (let next = record + 1; next < end; next++) this.#block(next).catch(() => undefined)
  }

  #block(record: number): Promise<Uint8Array> {
    const known = this.#blocks.get(record)
    this.#blocks.delete(record)
    const block = known ?? this.#decode(record)
    this.#blocks.set(record, block)
    for (const oldest of this.#blocks.keys()) {
      if (this.#blocks.size <= KEPT_BLOCKS) break
      this.#blocks.delete(oldest)
    }
    return block
  }

  async #decode(record: number): Promise<Uint8Array> {
    const { offset, size } = this.#records.payload(record)
    const payload = await readExactly(this.#source, offset, size)
    const skip = record === 0 ? ZLIB_HEADER_SIZE : 0
    const block = await this.#inflate(payload.subarray(skip), offset, record)
    if (record % CHECKPOINT === 0) this.#windows.set(record, windowOf(block))
    return block
  }

  async #inflate(payload: Uint8Array, offset: number, record: number): Promise<Uint8Array> {
    try {
      return exactly(await inflate(payload, OPTIONS), offset)
    } catch (error) {
      if (record === 0 || !refersBack(error)) throw corrupt(error, offset)
    }
    const dictionary = await this.#windowBefore(record)
    try {
      return exactly(await inflate(payload, { ...OPTIONS, dictionary }), offset)
    } catch (error) {
      throw corrupt(error, offset)
    }
  }

  /** The last bytes of the record before. Records between it and the last one known are inflated one by one. */
  async #windowBefore(record: number): Promise<Uint8Array> {
    let known = record - 1
    while (known > 0 && !this.#blocks.has(known) && !this.#windows.has(known)) known--
    let window = this.#windows.get(known) ?? windowOf(await this.#block(known))
    for (let next = known + 1; next < record; next++) window = windowOf(await this.#block(next))
    return window
  }
}

const OPTIONS = { finishFlush: constants.Z_SYNC_FLUSH, maxOutputLength: BLOCK_SIZE, chunkSize: BLOCK_SIZE }

/** A copy, so that a window does not keep its whole block. */
function windowOf(block: Uint8Array): Uint8Array {
  return block.slice(-WINDOW_SIZE)
}

function refersBack(error: unknown): boolean {
  return (error as Error).message === 'invalid distance too far back'
}

function exactly(block: Uint8Array, offset: number): Uint8Array {
  if (block.length === BLOCK_SIZE) return block
  throw new DiskferryError('corrupt-data', `a ZVHD record inflates to ${block.length} bytes instead of ${BLOCK_SIZE}`, {
    found: block.length,
    expected: BLOCK_SIZE,
    offset,
  })
}

function corrupt(cause: unknown, offset: number): DiskferryError {
  if (cause instanceof DiskferryError) return cause
  const found = (cause as NodeJS.ErrnoException).code ?? String(cause)
  const detail = { found, expected: 'a deflate segment', offset, cause }
  return new DiskferryError('corrupt-data', `the ZVHD record at offset ${offset} does not inflate: ${found}`, detail)
}
