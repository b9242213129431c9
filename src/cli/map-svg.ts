import { formatSize } from '../bytes/units.ts'
import type { DiskMap, MapSide, Partition, RegionBar } from '../index.ts'
import { REGION_KINDS, type RegionKind } from '../pipeline/inspect/region-bar.ts'
import { printable } from './output.ts'

/* A drawing of rectangles needs no library: what there is to get right is escaping, since names come from images. */

const COLORS: Readonly<Record<RegionKind, string>> = {
  data: '#2a9d5c',
  packed: '#1f9fb4',
  metadata: '#d9a520',
  parent: '#a05ac8',
  zero: '#c9ced6',
  hole: '#eceff3',
}
const WIDTH = 1000
const MARGIN = 20
const BAR_HEIGHT = 36
const LINE_HEIGHT = 18
const FONT = 'font-family="system-ui, sans-serif" font-size="13"'

/** The map as one SVG document: the disk with its partitions, and each file to the scale of its own size. */
export function mapSvg(map: DiskMap): string {
  const { parts, height } = draw(map)
  const size = `viewBox="0 0 ${WIDTH + 2 * MARGIN} ${height}" width="${WIDTH + 2 * MARGIN}" height="${height}"`
  const title = `<title>${escaped(map.name)}</title>`
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size} ${FONT}>\n${[title, ...parts].join('\n')}\n</svg>\n`
}

/** The same in a page of its own: no script, nothing fetched. */
export function mapHtml(map: DiskMap): string {
  const head = `<meta charset="utf-8"><title>${escaped(map.name)}</title><style>svg{max-width:100%;height:auto}</style>`
  return `<!doctype html>\n<html lang="en"><head>${head}</head><body>\n${mapSvg(map)}</body></html>\n`
}

function draw({ name, source, target, content }: DiskMap): { parts: string[]; height: number } {
  const parts: string[] = []
  let y = MARGIN
  const line = (text: string) => {
    y += LINE_HEIGHT
    parts.push(`<text x="${MARGIN}" y="${y - 5}">${escaped(text)}</text>`)
  }
  const bar = (caption: string, regions: RegionBar) => {
    line(caption)
    parts.push(`<g transform="translate(${MARGIN} ${y})">`, ...barShapes(regions), '</g>')
    y += BAR_HEIGHT + 4
  }
  line(name)
  bar(`source, ${described(source)}: its disk of ${formatSize(source.virtualSize)}`, source.guest)
  parts.push(`<g transform="translate(${MARGIN} ${y})">`, ...partitionShapes(content.partitions, source), '</g>')
  y += content.partitions.length > 0 ? 2 * LINE_HEIGHT : 0
  if (source.container) bar(`source, its file of ${formatSize(source.container.size)}`, source.container)
  if (target) bar(`target, ${described(target)}: its disk of ${formatSize(target.virtualSize)}`, target.guest)
  if (target?.container) bar(`target, its file of ${formatSize(target.container.size)}`, target.container)
  if (target && !target.container) line(`target, its file of at most ${formatSize(target.sizeAtMost)}`)
  parts.push(...legend(y + 6))
  return { parts, height: y + 6 + LINE_HEIGHT + MARGIN }
}

function described({ format, variant }: MapSide): string {
  return format === variant ? format : `${format} ${variant}`
}

/** Kinds lie one upon the other in each cell, as high as their share; equal neighbours become one rectangle. */
function barShapes(bar: RegionBar): string[] {
  const frame = `<rect width="${WIDTH}" height="${BAR_HEIGHT}" fill="${COLORS.hole}" stroke="#8a94a3"/>`
  const cells = Math.ceil(bar.size / bar.cellSize)
  const columns = Array.from({ length: cells }, (_, cell) => cellShares(bar, cell))
  const shapes: string[] = []
  for (let from = 0; from < cells; ) {
    let to = from + 1
    while (to < cells && columns[to] === columns[from]) to++
    const x = ((from * bar.cellSize) / bar.size) * WIDTH
    const width = (Math.min(bar.size, to * bar.cellSize) / bar.size) * WIDTH - x
    shapes.push(...columnShapes(columns[from] as string, x, width))
    from = to
  }
  return [frame, ...shapes]
}

/** Shares of a cell by kind, in pixels, as text that can be compared: `data 20,packed 16`. */
function cellShares(bar: RegionBar, cell: number): string {
  const amounts = REGION_KINDS.map((kind) => [kind, bar.bytes[kind]?.[cell] ?? 0] as const)
  const total = amounts.reduce((sum, [, bytes]) => sum + bytes, 0)
  const pixels = amounts.map(([kind, bytes]) => [kind, total && Math.round((bytes / total) * BAR_HEIGHT)] as const)
  return pixels.flatMap(([kind, height]) => (height > 0 && kind !== 'hole' ? [`${kind} ${height}`] : [])).join()
}

function columnShapes(shares: string, x: number, width: number): string[] {
  let bottom = BAR_HEIGHT
  return shares.split(',').flatMap((share) => {
    const [kind = '', pixels = '0'] = share.split(' ')
    if (kind === '') return []
    const height = Math.min(bottom, Number(pixels))
    bottom -= height
    const place = `x="${x.toFixed(2)}" y="${bottom}" width="${width.toFixed(2)}" height="${height}"`
    return [`<rect ${place} fill="${COLORS[kind as RegionKind]}"/>`]
  })
}

function partitionShapes(partitions: readonly Partition[], { virtualSize }: MapSide): string[] {
  return partitions.flatMap((partition) => {
    const x = (Math.min(partition.offset, virtualSize) / virtualSize) * WIDTH
    const width =
      (Math.min(partition.length, virtualSize - Math.min(partition.offset, virtualSize)) / virtualSize) * WIDTH
    if (partition.isContainer || width <= 0) return []
    const bracket = `<path d="M${x.toFixed(2)} 0v6h${width.toFixed(2)}v-6" fill="none" stroke="#4a5462"/>`
    const text = `<text x="${x.toFixed(2)}" y="20" font-size="11">${escaped(caption(partition, width))}</text>`
    return [bracket, text]
  })
}

/** A letter takes about seven pixels; the whole stands in a tooltip's place, the list. */
function caption({ number, type, name, fileSystem, length }: Partition, width: number): string {
  const whole = [number, name, fileSystem?.type ?? type, formatSize(length)]
    .filter((part) => part !== undefined)
    .join(' ')
  const letters = Math.floor(width / 7)
  return whole.length <= letters ? whole : letters >= 2 ? `${whole.slice(0, letters - 1)}…` : ''
}

function legend(y: number): string[] {
  return REGION_KINDS.flatMap((kind, index) => {
    const x = MARGIN + index * 110
    const swatch = `<rect x="${x}" y="${y}" width="12" height="12" fill="${COLORS[kind]}" stroke="#8a94a3"/>`
    return [swatch, `<text x="${x + 18}" y="${y + 11}">${kind}</text>`]
  })
}

function escaped(text: string): string {
  return printable(text).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}
