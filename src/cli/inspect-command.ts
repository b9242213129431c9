import type { Command } from 'commander'
import { formatSize } from '../bytes/units.ts'
import { type FormatName, type Inspection, inspect } from '../index.ts'
import { printable, printJson, printNote, printResult } from './output.ts'

interface InspectFlags {
  from?: string
  json?: boolean
}

export function addInspectCommand(program: Command): void {
  program
    .command('inspect')
    .summary('say what an image is')
    .description(
      'Says what <source> is: format, variant, sizes, features, and how its bytes are kept. Reads no guest data.',
    )
    .argument('<source>', 'path of the image')
    .option('--from <format>', 'format of the source; believed, where otherwise it is probed')
    .option('--json', 'print one JSON object')
    .addHelpText('after', '\nExample:\n  diskferry inspect centos7.qcow2')
    .action(async (source: string, { from, json }: InspectFlags) => {
      const found = await inspect(source, { from: from as FormatName | undefined })
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
  for (const warning of found.warnings) printNote(`warning: ${printable(warning)}`)
  for (const { description, found: what, remedy } of found.violations) {
    printNote(`can't be converted: ${description}: ${printable(JSON.stringify(what))}`)
    printNote(`  ${remedy}`)
  }
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
