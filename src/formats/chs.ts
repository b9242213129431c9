import { SECTOR } from '../bytes/units.ts'

/** Cylinders, heads and sectors per track: what VHD and its descendants say beside a disk's size. */
export interface Geometry {
  cylinders: number
  heads: number
  sectorsPerTrack: number
}

export const LARGEST_GEOMETRY: Geometry = { cylinders: 65535, heads: 16, sectorsPerTrack: 255 }

/** VHD specification, "Appendix: CHS Calculation". It truncates: the product is at most the disk's size. */
export function geometryOf(size: number): Geometry {
  const { cylinders: most, heads: mostHeads, sectorsPerTrack: mostSectors } = LARGEST_GEOMETRY
  const totalSectors = Math.min(Math.floor(size / SECTOR), most * mostHeads * mostSectors)
  if (totalSectors >= 65535 * 16 * 63) return geometry(totalSectors, 255, 16)
  const tracks = Math.floor(totalSectors / 17)
  const heads = Math.max(4, Math.ceil(tracks / 1024))
  if (heads <= 16 && tracks < heads * 1024) return geometry(totalSectors, 17, heads)
  if (Math.floor(totalSectors / 31) < 16 * 1024) return geometry(totalSectors, 31, 16)
  return geometry(totalSectors, 63, 16)
}

function geometry(totalSectors: number, sectorsPerTrack: number, heads: number): Geometry {
  return { cylinders: Math.floor(Math.floor(totalSectors / sectorsPerTrack) / heads), heads, sectorsPerTrack }
}

/** Bytes that a geometry spans. */
export function sizeOfGeometry({ cylinders, heads, sectorsPerTrack }: Geometry): number {
  return cylinders * heads * sectorsPerTrack * SECTOR
}
