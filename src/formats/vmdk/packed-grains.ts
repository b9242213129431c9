/** QEMU's limit too: twice a grain holds whatever deflate makes of one, even of noise. */
const MAX_PACKED_FACTOR = 2

/**
 * Bounds for what a packed grain takes. Its marker knows exactly; but asking each would be one small read for each
 * grain. A grain ends at the latest where the next thing in the file begins, and so whatever its table knows of is a
 * bound: other grains, the table itself, the directory, the end of the file. Where grains lie one behind the other, the
 * bounds reach just over the next one's marker, so that all of them are one run of the file.
 */
export class PackedPlaces {
  /** Ascending. */
  readonly #places: Float64Array
  readonly #markerSize: number
  /** Where the last grain of the file may begin, at the latest. */
  readonly #end: number
  readonly #most: number

  /** `grains` are byte offsets; what is not positive is no grain. `fileEnd` is the file's length. */
  constructor(grains: Float64Array, others: readonly number[], fileEnd: number, markerSize: number, grainSize: number) {
    const stored = grains.filter((grain) => grain > 0)
    this.#places = new Float64Array(stored.length + others.length)
    this.#places.set(stored)
    this.#places.set(others, stored.length)
    this.#places.sort()
    this.#markerSize = markerSize
    this.#end = fileEnd - markerSize
    this.#most = MAX_PACKED_FACTOR * grainSize
  }

  /** Offset of the grain's zlib stream, and the bytes that it takes at most: none when it lies past the file's end. */
  of(grain: number): { host: number; packed: number } {
    const next = Math.min(this.#after(grain), this.#end)
    return { host: grain + this.#markerSize, packed: Math.min(next - grain, this.#most) }
  }

  /** The first place after `grain`. */
  #after(grain: number): number {
    let low = 0
    let high = this.#places.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#places[middle] as number) > grain) high = middle
      else low = middle + 1
    }
    return this.#places[low] ?? Number.POSITIVE_INFINITY
  }
}
