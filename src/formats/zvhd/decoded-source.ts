import { readExactly, type Source } from '../../io/source.ts'
import { inflateRecord, windowOf } from './inflate-record.ts'
import type { RecordTable } from './records.ts'
import type { References } from './references.ts'
import { BLOCK_SIZE } from './spec.ts'

/** Decoded blocks that are kept: those that readers are at, and those read ahead. */
const KEPT_BLOCKS = 12
const READ_AHEAD = 3
/** One window in so many records is kept, so that going back does not begin at the first record. */
const CHECKPOINT = 1024

/**
 * The blocks of a ZVHD, inflated, one behind the other: block `i` of the source is record `i`.
 *
 * All payloads together are one deflate stream. A record that refers back into the one before can be inflated only
 * after it: for these is this source, which inflates in the threads that Node keeps for zlib. Going back ends at a
 * record that refers to nothing.
 */
export class DecodedSource implements Source {
  readonly size: number
  readonly name: string
  readonly version?: string
  readonly #source: Source
  readonly #records: RecordTable
  readonly #references: References
  readonly #blocks = new Map<number, Promise<Uint8Array>>()
  readonly #windows = new Map<number, Uint8Array>()

  constructor(source: Source, records: RecordTable, references: References) {
    this.#source = source
    this.#references = references
    this.#records = records
    this.size = records.count * BLOCK_SIZE
    this.name = source.name ?? 'ZVHD'
    if (source.version !== undefined) this.version = source.version
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
    const { offset, size } = this.#records.segment(record)
    const segment = await readExactly(this.#source, offset, size)
    const windowBefore = record === 0 ? undefined : () => this.#windowBefore(record)
    const block = await inflateRecord(segment, offset, windowBefore)
    if (record % CHECKPOINT === 0) this.#windows.set(record, windowOf(block))
    return block
  }

  #isKnown(record: number): boolean {
    return this.#blocks.has(record) || this.#windows.has(record)
  }

  /** The last bytes of the record before. Records between it and the last one known are inflated one by one. */
  async #windowBefore(record: number): Promise<Uint8Array> {
    let known = record - 1
    while (known > 0 && !this.#isKnown(known) && (await this.#references.hasReference(known))) known--
    let window = this.#windows.get(known) ?? windowOf(await this.#block(known))
    for (let next = known + 1; next < record; next++) window = windowOf(await this.#block(next))
    return window
  }
}
