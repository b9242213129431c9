import { formatSize } from '../bytes/units.ts'
import type { GuestContent, Partition } from '../index.ts'

/** Partitions, one a line, in columns; what a disk without any holds. Texts of the image's are not yet `printable`. */
export function contentLines({ scheme, partitions, fileSystem, notes }: GuestContent): string[] {
  const rows = partitions.map(partitionCells)
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] as string).length)))
  const table = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] as number))
      .join('  ')
      .trimEnd(),
  )
  const whole = fileSystem === undefined ? [] : [`no partitions: ${fileSystem.type}${quoted(fileSystem.label)}`]
  const title = scheme === 'none' ? [] : [`${scheme.toUpperCase()}, ${partitions.length} partitions`]
  return [...whole, ...title, ...table.map((line) => `  ${line}`), ...notes]
}

function partitionCells({ number, offset, length, type, name, fileSystem, outside }: Partition): string[] {
  const beyond = outside ? 'reaches beyond the disk' : ''
  const inside = fileSystem === undefined ? '' : `${fileSystem.type}${quoted(fileSystem.label)}`
  return [String(number), `at ${formatSize(offset)}`, formatSize(length), type, quoted(name).trim(), inside, beyond]
}

function quoted(text: string | undefined): string {
  return text === undefined ? '' : ` ${JSON.stringify(text)}`
}
