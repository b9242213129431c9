import type { Command } from 'commander'
import { formatSize } from '../bytes/units.ts'
import { type FormatName, type Inspection, inspect } from '../index.ts'
import { contentLines } from './content-view.ts'
import { printable, printJson, printNote, printResult } from './output.ts'
import { openPlace, SOURCE_HELP } from './places.ts'
import { barLine, partitionLine } from './region-bar-view.ts'

interface InspectFlags {
  content?: boolean
  allocation?: boolean
  from?: string
  json?: boolean
}

export function addInspectCommand(program: Command): void {
  program
    .command('inspect')
    .summary('say what an image is')
    .description(
      'Says what <source> is: format, variant, sizes, features, and how its bytes are kept, and which partitions it has.',
    )
    .argument('<source>', SOURCE_HELP)
    .option('--from <format>', 'format of the source; believed, where otherwise it is probed')
    .option('--content', 'look for partitions behind URLs and in buckets too; each look costs a request')
    .option(
      '--allocation',
      'follow the tables behind URLs and in buckets to their end, however many requests that takes',
    )
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      '\nExamples:\n  diskferry inspect s3://images/centos7.qcow2\n  diskferry inspect disk.vmdk --json | jq .virtualSize',
    )
    .action(async (source: string, { from, content, allocation, json }: InspectFlags) => {
      const place = await openPlace(source)
      const options = { from: from as FormatName | undefined, content, allocation }
      const found = await inspect(place.source, options).finally(place.close)
      if (json) printJson(found)
      else print(found)
    })
}

function print(found: Inspection): void {
  const rows: [string, string][] = [
    ['format', `${found.format} (${found.variant})`],
    ['virtual size', sized(found.virtualSize)],
    ['stored size', sized(found.storedSize)],
    ...(found.features.length > 0 ? [['features', found.features.join(', ')] as [string, string]] : []),
    ...Object.entries(found.details).map(([name, value]): [string, string] => [words(name), String(value)]),
    ...allocationRows(found),
  ]
  const width = Math.max(...rows.map(([name]) => name.length))
  printResult(printable(found.name))
  for (const [name, value] of rows) printResult(`  ${name.padEnd(width)}  ${printable(value)}`)
  printContent(found)
  for (const warning of found.warnings) printNote(`warning: ${printable(warning)}`)
  for (const { description, found: what, remedy } of found.violations) {
    printNote(`can't be converted: ${description}: ${printable(JSON.stringify(what))}`)
    printNote(`  ${remedy}`)
  }
}

function printContent({ bar, content }: Inspection): void {
  if (bar === undefined || content === undefined) return
  printResult(`  ${barLine(bar)}`)
  if (content.partitions.length > 0) printResult(`  ${partitionLine(bar, content.partitions)}`)
  for (const line of contentLines(content)) printResult(`  ${printable(line)}`)
}

function allocationRows({ allocation, unreadable }: Inspection): [string, string][] {
  if (allocation === undefined) return unreadable === undefined ? [] : [['unreadable', unreadable]]
  const { extents, ...bytes } = allocation
  const kinds = Object.entries(bytes).filter(([, size]) => size > 0)
  return [...kinds.map(([kind, size]): [string, string] => [kind, sized(size)]), ['extents', String(extents)]]
}

function sized(bytes: number): string {
  return `${bytes} bytes (${formatSize(bytes)})`
}

/** `clusterSize` as people read it. */
function words(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)
}
