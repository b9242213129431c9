export const SECTOR = 512
export const KiB = 1024
export const MiB = 1024 * KiB
export const GiB = 1024 * MiB
export const TiB = 1024 * GiB

/** `value` rounded up to a multiple of `step`. */
export function alignUp(value: number, step: number): number {
  return Math.ceil(value / step) * step
}

/** `value` rounded down to a multiple of `step`. */
export function alignDown(value: number, step: number): number {
  return Math.floor(value / step) * step
}

export function isPowerOfTwo(value: number): boolean {
  return Number.isSafeInteger(value) && value > 0 && 2 ** Math.round(Math.log2(value)) === value
}

const UNITS: Readonly<Record<string, number>> = { '': 1, B: 1, K: KiB, M: MiB, G: GiB, T: TiB }

/** Reads a size as people write it: `512`, `64K`, `10G`, `1MiB`. Units are binary. Gives undefined for anything else. */
export function parseSize(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*([BKMGT]?)(?:i?B)?$/i.exec(text.trim())
  if (match === null) return undefined
  const bytes = Number(match[1]) * (UNITS[match[2]?.toUpperCase() ?? ''] ?? Number.NaN)
  return Number.isSafeInteger(bytes) ? bytes : undefined
}

/** A size for people: `1.5 GiB`. */
export function formatSize(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']
  const power = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10))
  const value = bytes / 1024 ** power
  return `${Number.isInteger(value) ? value : value.toFixed(value < 10 ? 2 : 1)} ${units[power]}`
}
