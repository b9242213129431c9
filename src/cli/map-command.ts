import { writeFile } from 'node:fs/promises'
import type { Command } from 'commander'
import { formatSize } from '../bytes/units.ts'
import { DiskferryError, type DiskMap, type FormatName, type MapSide, mapImage, type WriterOptions } from '../index.ts'
import { targetFailed } from '../io/target-error.ts'
import { contentLines } from './content-view.ts'
import { collect, parseOptions } from './format-options.ts'
import { mapHtml, mapSvg } from './map-svg.ts'
import { printable, printJson, printResult } from './output.ts'
import { openPlace, SOURCE_HELP } from './places.ts'
import { barLine, barSums, partitionLine } from './region-bar-view.ts'

interface MapFlags {
  from?: string
  to?: string
  option?: string[]
  output?: string
  json?: boolean
}

const EXAMPLES = `
Examples:
  diskferry map centos7.qcow2
  diskferry map centos7.qcow2 --to vhd -o map.svg
  diskferry map centos7.qcow2 --json | jq .content.partitions`

export function addMapCommand(program: Command): void {
  program
    .command('map')
    .summary('draw how a disk and its file lie')
    .description(
      'Draws how the disk in <source> and the file itself lie: data, zeros, metadata, partitions. With --to, also what a ' +
        'conversion would make of it. Nothing is converted.',
    )
    .argument('<source>', SOURCE_HELP)
    .option('--from <format>', 'format of the source; believed, where otherwise it is probed')
    .option('--to <format>', 'lay out a target of this format beside it')
    .option('--option <key=value>', 'option of the target format; may be repeated', collect)
    .option('-o, --output <file>', 'draw into a file: .svg or .html')
    .option('--json', 'print one JSON object')
    .addHelpText('after', EXAMPLES)
    .action(runMap)
}

const DRAWINGS: Readonly<Record<string, (map: DiskMap) => string>> = { svg: mapSvg, html: mapHtml }
/** On a terminal one cell is one character; in a drawing it may be as narrow as a line. */
const TEXT_CELLS = 64
const DRAWN_CELLS = 500

async function runMap(source: string, { from, to, option, output, json }: MapFlags): Promise<void> {
  const drawing = output === undefined ? undefined : DRAWINGS[output.split('.').at(-1)?.toLowerCase() ?? '']
  if (output !== undefined && drawing === undefined) {
    throw new DiskferryError('usage', `${output} is no drawing`, { found: output, expected: 'a name in .svg or .html' })
  }
  const place = await openPlace(source)
  const map = await mapImage({
    source: place.source,
    from: from as FormatName | undefined,
    to: to as keyof WriterOptions | undefined,
    options: parseOptions(option),
    cells: drawing || json ? DRAWN_CELLS : TEXT_CELLS,
  }).finally(place.close)
  if (output !== undefined && drawing !== undefined) await writeDrawing(output, drawing(map))
  if (json) printJson(map)
  else if (output === undefined) print(map)
}

async function writeDrawing(path: string, text: string): Promise<void> {
  try {
    await writeFile(path, text)
  } catch (cause) {
    throw targetFailed(path, cause)
  }
}

function print(map: DiskMap): void {
  printResult(printable(map.name))
  printSide('source', map.source, map.content.partitions.length > 0 ? map : undefined)
  if (map.target) printSide('target', map.target, undefined)
  for (const line of contentLines(map.content)) printResult(`  ${printable(line)}`)
}

function printSide(name: string, side: MapSide, partitioned: DiskMap | undefined): void {
  const { format, variant, virtualSize, size, sizeAtMost, guest, container } = side
  const fileSize = size === undefined ? `at most ${formatSize(sizeAtMost)}` : formatSize(size)
  printResult(`  ${name}: ${format} (${printable(variant)})`)
  printResult(`    disk of ${formatSize(virtualSize)}: ${barSums(guest)}`)
  printResult(`    ${barLine(guest)}`)
  if (partitioned) printResult(`    ${partitionLine(guest, partitioned.content.partitions)}`)
  printResult(`    file of ${fileSize}${container ? `: ${barSums(container)}` : ''}`)
  if (container) printResult(`    ${barLine(container)}`)
}
