import { describeFormats, type FormatDescription } from '../../src/index.ts'

/** Between these lines of README.md stands what `formatsTable` makes of the registry. */
const BEGIN = '<!-- formats: made by "npm run docs" -->'
const END = '<!-- /formats -->'

/** README.md with its tables of formats as the code has them now. */
export function withFormatsTable(readme: string): string {
  const from = readme.indexOf(BEGIN)
  const to = readme.indexOf(END)
  if (from < 0 || to < from) throw new Error(`README.md has no lines ${BEGIN} and ${END}`)
  return `${readme.slice(0, from)}${BEGIN}\n\n${formatsTable()}\n\n${readme.slice(to)}`
}

function formatsTable(): string {
  const all = describeFormats()
  const used = all.filter(({ reads, writes }) => reads || writes)
  const refused = all.filter((format) => !used.includes(format))
  const formatRows = used.map(({ name, title, reads, writes }) => [code(name), title, yes(reads), yes(writes)])
  const optionRows = used.flatMap((format) => optionsOf(format))
  return [
    table(['format', 'what it is', 'read', 'written'], formatRows),
    `Known by their first bytes and refused by name, so that none is taken for a raw disk: ${refused.map(({ name }) => name).join(', ')}.`,
    table(['format', 'option', 'takes', 'default', 'what it does'], optionRows),
  ].join('\n\n')
}

function optionsOf({ name, options }: FormatDescription): string[][] {
  return options.map(({ key, takes, default: preset, help }) => [
    code(name),
    code(key),
    takes,
    preset === undefined ? '' : String(preset),
    help,
  ])
}

function table(head: string[], rows: string[][]): string {
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.map(escaped).join(' | ')} |`).join('\n')
}

const escaped = (text: string) => text.replaceAll('|', '\\|')
const code = (text: string) => `\`${text}\``
const yes = (does: boolean) => (does ? 'yes' : '')
