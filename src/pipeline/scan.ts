import { KiB, MiB } from '../bytes/units.ts'
import { unpackExactly } from '../bytes/unpack.ts'
import { isZero } from '../bytes/zeros.ts'
import { EXTENT_WIDTH, Extent, Kind } from '../formats/extents.ts'
import type { Codec } from '../formats/format.ts'
import { type HostReader, hostReader } from './host-reader.ts'
import type { ScanResult, ScanTask } from './tasks.ts'

/** What is read of a unit first: data that is not zero nearly always shows it here, and the rest is never read. */
const PEEK = 4 * KiB
/** What is read at once where zeros are: the next units are probably zero as well. */
const WINDOW = MiB

/** Finds the units that hold anything but zeros, reading as little as it can. */
export function scan({ input, codecs, unitSize, extents }: ScanTask): ScanResult {
  const reader = new ZeroReader(hostReader(input))
  const found: number[] = []
  for (let row = 0; row < extents.length; row += EXTENT_WIDTH) {
    const guest = extents[row + Extent.guest] as number
    const end = guest + (extents[row + Extent.length] as number)
    const host = extents[row + Extent.host] as number
    if (extents[row + Extent.kind] === Kind.packed) {
      const codec = codecs[extents[row + Extent.codec] as number] as Codec
      const packed = extents[row + Extent.packed] as number
      const skip = extents[row + Extent.skip] as number
      if (mayHoldZeros(packed, codec, unitSize)) {
        const unit = unpackExactly(codec, reader.view(host, packed), host)
        scanUnpacked(unit.subarray(skip, skip + (end - guest)), guest, unitSize, found)
      } else {
        addUnits(found, Math.floor(guest / unitSize), Math.ceil(end / unitSize))
      }
    } else {
      scanStored(reader, guest, end, host, unitSize, found)
    }
  }
  return { units: Float64Array.from(found) }
}

function scanStored(
  reader: ZeroReader,
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
    if (!known && !reader.isZero(host + (from - guest), to - from, host + (end - guest))) found.push(unit)
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

/** Answers whether runs of the source are zero. */
class ZeroReader {
  readonly #host: HostReader
  #window: Uint8Array = new Uint8Array(0)
  #windowStart = 0
  #lastWasZero = false

  constructor(host: HostReader) {
    this.#host = host
  }

  /** Bytes that are good until the next call of any method. */
  view(offset: number, length: number): Uint8Array {
    this.#window = this.#host.view(offset, length)
    this.#windowStart = offset
    return this.#window
  }

  /** Whether `length` bytes at `offset` are zero; nothing at or after `limit` is read. */
  isZero(offset: number, length: number, limit: number): boolean {
    this.#lastWasZero =
      (this.#lastWasZero || isZero(this.view(offset, Math.min(PEEK, length)))) &&
      this.#restIsZero(offset, offset + length, limit)
    return this.#lastWasZero
  }

  #restIsZero(offset: number, end: number, limit: number): boolean {
    for (let at = offset; at < end; ) {
      if (at < this.#windowStart || at >= this.#windowStart + this.#window.length) {
        this.view(at, Math.min(WINDOW, limit - at))
      }
      const to = Math.min(end, this.#windowStart + this.#window.length)
      if (!isZero(this.#window, at - this.#windowStart, to - this.#windowStart)) return false
      at = to
    }
    return true
  }
}
