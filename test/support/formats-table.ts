import { describeFormats, type FormatDescription } from '../../src/index.ts'

/** Between these lines of README.md and docs/formats.md stands what is made of the registry. */
const BEGIN = '<!-- formats: made by "npm run docs" -->'
const END = '<!-- /formats -->'

/** README.md with its table of formats as the code has it now. */
export function withFormatsTable(readme: string): string {
  return between(readme, formatsTable())
}

/** docs/formats.md with the options of each format as the code has them now. */
export function withOptionsTable(page: string): string {
  return between(page, optionsTable())
}

function between(page: string, made: string): string {
  const from = page.indexOf(BEGIN)
  const to = page.indexOf(END)
  if (from < 0 || to < from) throw new Error(`there are no lines ${BEGIN} and ${END}`)
  return `${page.slice(0, from)}${BEGIN}\n\n${made}\n\n${page.slice(to)}`
}

function formatsTable(): string {
  const all = describeFormats()
  const used = all.filter(({ reads, writes }) => reads || writes)
  const refused = all.filter((format) => !used.includes(format))
  const rows = used.map(({ name, title, reads, writes }) => [code(name), title, yes(reads), yes(writes)])
  return [
    table(['format', 'what it is', 'read', 'written'], rows),
    `Known by their first bytes and refused by name, so that none is taken for a raw disk: ${refused.map(({ name }) => name).join(', ')}.`,
  ].join('\n\n')
}

function optionsTable(): string {
  const rows = describeFormats().flatMap((format) => optionsOf(format))
  return table(['format', 'option', 'takes', 'default', 'what it does'], rows)
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
