import { promisify } from 'node:util'
import { constants, inflateRaw } from 'node:zlib'
import { KiB } from '../../bytes/units.ts'
import { readExactly, type Source } from '../../io/source.ts'
import { refersBack, WINDOW_SIZE } from './inflate-record.ts'
import type { RecordTable } from './records.ts'

const inflate = promisify<Uint8Array, object, Buffer>(inflateRaw)

/** Enough for a window of nearly anything: deflate makes little of what it can't shrink. */
const FIRST_LOOK = 48 * KiB
const OPTIONS = { finishFlush: constants.Z_SYNC_FLUSH, maxOutputLength: WINDOW_SIZE, chunkSize: WINDOW_SIZE }

/**
 * Which records refer back into the one before: found out when it is first asked for, and kept.
 *
 * No distance is longer than the window, so only the first bytes of a record, as many as a window has, can refer to
 * bytes before it: the rest need not be inflated to know.
 */
export class References {
  readonly #source: Source
  readonly #records: RecordTable
  readonly #known: Uint8Array

  constructor(source: Source, records: RecordTable) {
    this.#source = source
    this.#records = records
    this.#known = new Uint8Array(records.count)
  }

  /** Whether the record can be inflated only after the one before. What does not inflate at all can't tell. */
  async hasReference(record: number): Promise<boolean> {
    if (this.#known[record] === Answer.unknown) {
      this.#known[record] = (await this.#look(record, FIRST_LOOK)) ? Answer.yes : Answer.no
    }
    return this.#known[record] === Answer.yes
  }

  async #look(record: number, most: number): Promise<boolean> {
    const { offset, size } = this.#records.segment(record)
    const segment = await readExactly(this.#source, offset, Math.min(size, most))
    try {
      const first = await inflate(segment, OPTIONS)
      return first.length < WINDOW_SIZE && most < size && (await this.#look(record, size))
    } catch (error) {
      return refersBack(error)
    }
  }
}

const Answer = { unknown: 0, no: 1, yes: 2 } as const
