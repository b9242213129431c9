import { alignUp, SECTOR } from '../../bytes/units.ts'
import type { Frame } from '../frames.ts'
import { DEFAULT_GRAIN_SIZE, grainMarker } from './spec.ts'

/** "Grain Marker": where the grain belongs and how long it is packed; then its bytes, padded to a sector. */
export const grainFrame: Frame = {
  overhead: grainMarker.size + SECTOR,
  write(into, at, payload, grain) {
    const lba = BigInt((grain * DEFAULT_GRAIN_SIZE) / SECTOR)
    const used = grainMarker.size + payload.length
    const length = alignUp(used, SECTOR)
    into.set(grainMarker.encode({ lba, size: payload.length }), at)
    into.set(payload, at + grainMarker.size)
    into.fill(0, at + used, at + length)
    return length
  },
}
