import { formatSize } from '../bytes/units.ts'
import type { Partition, RegionBar, RegionKind } from '../index.ts'
import { REGION_KINDS } from '../pipeline/inspect/region-bar.ts'
import { styled } from './style.ts'

/** From a little to all of a cell. */
const SHADES = ['░', '▒', '▓', '█']
const EMPTY = '·'
/** Only absence is not worth a shade. */
const FILLED: readonly RegionKind[] = ['data', 'packed', 'metadata', 'parent']
const COLORS = {
  data: 'green',
  packed: 'cyan',
  metadata: 'yellow',
  parent: 'magenta',
  zero: 'gray',
  hole: 'gray',
} as const

/** A bar as one line: the shade says how much of a cell holds something, the colour of what kind most of that is. */
export function barLine(bar: RegionBar): string {
  return Array.from({ length: cellCount(bar) }, (_, cell) => drawCell(bar, cell)).join('')
}

function cellCount({ size, cellSize }: RegionBar): number {
  return Math.ceil(size / cellSize)
}

function drawCell(bar: RegionBar, cell: number): string {
  const bytesOf = (kind: RegionKind) => bar.bytes[kind]?.[cell] ?? 0
  const filled = FILLED.reduce((sum, kind) => sum + bytesOf(kind), 0)
  if (filled === 0) return styled(COLORS.hole, EMPTY)
  const share = Math.min(1, filled / Math.min(bar.cellSize, bar.size - cell * bar.cellSize))
  const most = FILLED.reduce((best, kind) => (bytesOf(kind) > bytesOf(best) ? kind : best))
  return styled(COLORS[most as keyof typeof COLORS], SHADES[Math.ceil(share * SHADES.length) - 1] as string)
}

/** Which partition each cell of the bar begins in, by the last digit of its number. */
export function partitionLine(bar: RegionBar, partitions: readonly Partition[]): string {
  const line = Array<string>(cellCount(bar)).fill(' ')
  for (const { number, offset, length, isContainer } of partitions) {
    if (isContainer) continue
    const last = Math.min(line.length, Math.ceil((offset + length) / bar.cellSize))
    line.fill(String(number % 10), Math.floor(offset / bar.cellSize), last)
  }
  return line.join('').trimEnd()
}

/** How much there is of each kind. */
export function barSums({ bytes }: RegionBar): string {
  const sums = REGION_KINDS.flatMap((kind) => {
    const total = (bytes[kind] ?? []).reduce((sum, cell) => sum + cell, 0)
    return total > 0 ? [`${styled(COLORS[kind], kind)} ${formatSize(total)}`] : []
  })
  return sums.join(', ')
}
