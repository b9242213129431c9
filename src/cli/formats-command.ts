import type { Command } from 'commander'
import { describeFormats, type FormatDescription } from '../index.ts'
import { printJson, printResult } from './output.ts'

export function addFormatsCommand(program: Command): void {
  program
    .command('formats')
    .summary('list what can be read and written, with options')
    .description('Lists every format that is known: whether it can be read and written, and the options of its writer.')
    .option('--json', 'print one JSON array')
    .addHelpText('after', "\nExample:\n  diskferry formats --json | jq '.[] | select(.writes).name'")
    .action(({ json }: { json?: boolean }) => {
      const all = describeFormats()
      if (json) printJson(all)
      else for (const format of all) print(format)
    })
}

function print({ name, title, reads, writes, options }: FormatDescription): void {
  const does = [reads && 'read', writes && 'write'].filter(Boolean).join(', ') || 'refused by name'
  printResult(`${name.padEnd(10)} ${does.padEnd(16)} ${title}`)
  for (const { key, takes, help, default: preset } of options) {
    printResult(`  -o ${key}=…  ${takes}${preset === undefined ? '' : `; default ${preset}`}`)
    printResult(`       ${help}`)
  }
}
