import { UnitMap } from '../../bytes/unit-map.ts'
import { MiB } from '../../bytes/units.ts'
import { checkedExtents, EXTENT_WIDTH, Extent, type ExtentRows, Kind } from '../../formats/extents.ts'
import type { DiskImage } from '../../formats/format.ts'
import { isAllFiles } from '../../io/source.ts'
import type { Pool } from '../pool.ts'
import type { ProgressMeter } from '../progress.ts'
import { WorkWindow } from '../transfer/window.ts'
import { RunCollector, withInput } from './stage.ts'

/** What there is to move, known before the first byte is made. */
export interface Survey {
  /** Units that hold data; none when the target stores every byte anyway. */
  readonly units: UnitMap
  /** Guest bytes that are stored or packed in the source. */
  readonly dataBytes: number
}

export interface SurveyOptions {
  /** Guest bytes in one of the target's units; undefined when its layout does not depend on content. */
  readonly unitSize: number | undefined
  /** Units that the source stores count as data even where they hold only zeros. */
  readonly keepZeros: boolean
  readonly signal: AbortSignal | undefined
}

/** Guest bytes that one scan looks through at most, and extents that it takes. */
const SCAN_BYTES = 32 * MiB
/** The same where they have to be read here first: they are held in memory then. */
const STAGED_SCAN_BYTES = 4 * MiB
const SCAN_EXTENTS = 1024

/**
 * Walks the whole source once: every table is read, and so checked, before anything is written; and written zeros are
 * found, so that a target's size is known and its tables can go in front.
 */
export async function survey(
  image: DiskImage,
  pool: Pool,
  meter: ProgressMeter,
  options: SurveyOptions,
): Promise<Survey> {
  const { unitSize, keepZeros, signal } = options
  const units = new UnitMap(unitSize === undefined ? 0 : image.virtualSize, unitSize ?? 1)
  const window = new WorkWindow(Array(pool.threads + 2).keys(), signal)
  let dataBytes = 0
  meter.begin('survey', image.virtualSize)

  const scanBatch = (batch: Float64Array, runs: Float64Array, guestBytes: number) =>
    window.start(async () => {
      const codecs = image.codecs ?? []
      const { units: found } = await withInput({ image, pool, window }, runs, (input) =>
        pool.run('scan', { input, codecs, unitSize: units.unitSize, extents: batch }),
      )
      for (const unit of found) if (unit < units.length) units.add(unit)
      meter.add(guestBytes)
    })

  try {
    const batches = new ScanBatches(isAllFiles(image.source) ? SCAN_BYTES : STAGED_SCAN_BYTES)
    for await (const rows of checkedExtents(image.extents(), 0, image.virtualSize)) {
      signal?.throwIfAborted()
      for (let row = 0; row < rows.length; row += EXTENT_WIDTH) {
        const length = rows[row + Extent.length] as number
        const holdsData = rows[row + Extent.kind] === Kind.stored || rows[row + Extent.kind] === Kind.packed
        if (holdsData) dataBytes += length
        if (!holdsData || unitSize === undefined) {
          meter.add(length)
        } else if (keepZeros) {
          const guest = rows[row + Extent.guest] as number
          units.addRange(Math.floor(guest / unitSize), Math.min(units.length, Math.ceil((guest + length) / unitSize)))
          meter.add(length)
        } else {
          for (const full of batches.add(rows, row)) await scanBatch(full.extents, full.runs, full.guestBytes)
        }
      }
    }
    const rest = batches.take()
    if (rest.guestBytes > 0) await scanBatch(rest.extents, rest.runs, rest.guestBytes)
  } catch (error) {
    window.stop(error)
  }
  await window.finish()
  return { units, dataBytes }
}

interface ScanBatch {
  readonly extents: Float64Array
  readonly runs: Float64Array
  readonly guestBytes: number
}

/** Cuts extents into pieces of work of bounded size. */
class ScanBatches {
  #rows: number[] = []
  #guestBytes = 0
  readonly #runs = new RunCollector()
  readonly #mostBytes: number

  constructor(mostBytes: number) {
    this.#mostBytes = mostBytes
  }

  /** What has been added since the last batch. */
  take(): ScanBatch {
    const batch = { extents: Float64Array.from(this.#rows), runs: this.#runs.take(), guestBytes: this.#guestBytes }
    this.#rows = []
    this.#guestBytes = 0
    return batch
  }

  /** Adds one extent; gives the batches that it filled. */
  *add(rows: ExtentRows, row: number): Generator<ScanBatch> {
    const [guest = 0, length = 0, kind = 0, host = 0, packed = 0, codec = 0, skip = 0] = rows.subarray(
      row,
      row + EXTENT_WIDTH,
    )
    for (let done = 0; done < length; ) {
      const piece = kind === Kind.packed ? length : Math.min(length - done, this.#mostBytes - this.#guestBytes)
      const hostAt = kind === Kind.packed ? host : host + done
      this.#rows.push(guest + done, piece, kind, hostAt, packed, codec, skip)
      this.#runs.add(hostAt, kind === Kind.packed ? packed : piece)
      this.#guestBytes += piece
      done += piece
      if (this.#guestBytes >= this.#mostBytes || this.#rows.length >= SCAN_EXTENTS * EXTENT_WIDTH) yield this.take()
    }
  }
}
