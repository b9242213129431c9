import { KiB, MiB } from '../../bytes/units.ts'
import { unpackExactly } from '../../bytes/unpack.ts'
import { isZero } from '../../bytes/zeros.ts'
import { EXTENT_WIDTH, Extent, Kind } from '../../formats/extents.ts'
import type { Codec } from '../../formats/format.ts'
import { type HostReader, hostReader } from './host-reader.ts'
import type { ScanResult, ScanTask } from './tasks.ts'

/** What is read of a unit first: data that is not zero nearly always shows it here, and the rest is never read. */
const PEEK = 4 * KiB
/** What is read at once where zeros are: the next units are probably zero as well. */
const WINDOW = MiB

/** Finds the units that hold anything but zeros, reading as little as it can. */
export function scan({ input, codecs, unitSize, extents }: ScanTask): ScanResult {
  const host = hostReader(input)
  const zeros = new ZeroReader(host)
  const found: number[] = []
  for (let row = 0; row < extents.length; row += EXTENT_WIDTH) {
    const guest = extents[row + Extent.guest] as number
    const end = guest + (extents[row + Extent.length] as number)
    const at = extents[row + Extent.host] as number
    if (extents[row + Extent.kind] === Kind.packed) {
      const codec = codecs[extents[row + Extent.codec] as number] as Codec
      const packed = extents[row + Extent.packed] as number
      const skip = extents[row + Extent.skip] as number
      if (mayHoldZeros(packed, codec, unitSize)) {
        const unit = unpackExactly(codec, host.view(at, packed), at)
        scanUnpacked(unit.subarray(skip, skip + (end - guest)), guest, unitSize, found)
      } else {
        addUnits(found, Math.floor(guest / unitSize), Math.ceil(end / unitSize))
      }
    } else {
      scanStored(zeros, guest, end, at, unitSize, found)
    }
  }
  return { units: Float64Array.from(found) }
}

function scanStored(
  zeros: ZeroReader,
  guest: number,
  end: number,
  host: number,
  unitSize: number,
  found: number[],
): void {
  for (let from = guest; from < end; ) {
    const unit = Math.floor(from / unitSize)
    const to = Math.min(end, (unit + 1) * unitSize)
    const known = found.at(-1) === unit
    if (!known && !zeros.isZero(host + (from - guest), to - from, host + (end - guest))) found.push(unit)
    from = to
  }
}

function addUnits(found: number[], first: number, end: number): void {
  for (let unit = Math.max(first, (found.at(-1) ?? -1) + 1); unit < end; unit++) found.push(unit)
}

/**
 * Whether unpacking may show that something can be left out: zeros deflate a thousandfold, so a unit that is packed
 * into more than this is not all zero; but where it is larger than the target's units, some of those may be.
 */
function mayHoldZeros(packed: number, codec: Codec, unitSize: number): boolean {
  return codec.unitSize > unitSize || packed <= Math.max(KiB, codec.unitSize / 64)
}

function scanUnpacked(bytes: Uint8Array, guest: number, unitSize: number, found: number[]): void {
  const end = guest + bytes.length
  for (let from = guest; from < end; ) {
    const unit = Math.floor(from / unitSize)
    const to = Math.min(end, (unit + 1) * unitSize)
    if (found.at(-1) !== unit && !isZero(bytes, from - guest, to - guest)) found.push(unit)
    from = to
  }
}

/** Memory of this thread for what a scan looks at, used again by every one. */
const scratch = Buffer.allocUnsafeSlow(WINDOW)

/** Answers whether runs of the source are zero. */
class ZeroReader {
  readonly #host: HostReader
  /** What of the source is in `scratch`. */
  #start = 0
  #end = 0
  #lastWasZero = false

  constructor(host: HostReader) {
    this.#host = host
  }

  /** Whether `length` bytes at `offset` are zero; nothing at or after `limit` is read. */
  isZero(offset: number, length: number, limit: number): boolean {
    if (!this.#lastWasZero) this.#read(offset, Math.min(PEEK, length))
    for (let at = offset; at < offset + length; ) {
      if (at < this.#start || at >= this.#end) this.#read(at, Math.min(WINDOW, limit - at))
      const to = Math.min(offset + length, this.#end)
      this.#lastWasZero = isZero(scratch, at - this.#start, to - this.#start)
      if (!this.#lastWasZero) break
      at = to
    }
    return this.#lastWasZero
  }

  #read(offset: number, length: number): void {
    this.#host.copy(offset, length, scratch, 0)
    this.#start = offset
    this.#end = offset + length
  }
}
