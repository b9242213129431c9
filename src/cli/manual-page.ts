import type { Command } from 'commander'
import { EXIT_CODES } from './exit-codes.ts'
import { type Verb, verbsOf } from './grammar.ts'

/** The manual page, section 1, as roff: man-pages(7). `npm run docs` writes it. */
export function manualPage(program: Command): string {
  const verbs = verbsOf(program)
  return `${[
    `.TH DISKFERRY 1 "" "diskferry ${program.version()}" "User Commands"`,
    '.SH NAME',
    'diskferry \\- convert disk images of virtual machines while they stream',
    '.SH SYNOPSIS',
    ...verbs.flatMap(synopsis),
    '.SH DESCRIPTION',
    roff(program.description()),
    '.SH COMMANDS',
    ...verbs.flatMap(section),
    '.SH EXIT STATUS',
    ...EXIT_CODES.flatMap(([code, meaning]) => ['.TP', `.B ${code}`, roff(meaning)]),
    '.SH ENVIRONMENT',
    ...ENVIRONMENT.flatMap(([name, meaning]) => ['.TP', `.B ${roff(name)}`, roff(meaning)]),
    '.SH EXAMPLES',
    '.nf',
    ...EXAMPLES.map(roff),
    '.fi',
  ].join('\n')}\n`
}

const ENVIRONMENT = [
  [
    'AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_PROFILE, AWS_REGION',
    'how the store is reached, as for any AWS tool',
  ],
  ['AWS_ENDPOINT_URL_S3', 'a store other than AWS, which is addressed by path'],
  ['NO_COLOR', 'when it is set and not empty, nothing is coloured'],
] as const

const EXAMPLES = [
  'diskferry inspect centos7.qcow2',
  'diskferry convert centos7.qcow2 s3://exports/centos7.vhd --to vhd',
  'diskferry map centos7.qcow2 --to vhd -o map.svg',
]

function synopsis({ name, arguments: places, flags }: Verb): string[] {
  const shown = [...places.map(({ usage }) => usage), flags.length > 0 ? '[options]' : ''].filter(Boolean)
  return [`.B diskferry ${name}`, roff(shown.join(' ')), '.br']
}

function section({ name, description, arguments: places, flags }: Verb): string[] {
  return [
    `.SS ${name}`,
    roff(description),
    ...places.flatMap(({ usage, description: text, values }) => [
      '.TP',
      `.I ${roff(usage)}`,
      roff(listed(text, values)),
    ]),
    ...flags.flatMap(({ short, long, takes, description: text }) => {
      const spelling = [...(short === undefined ? [] : [short]), long].map((one) => `\\fB${roff(one)}\\fR`).join(', ')
      return ['.TP', `${spelling}${takes === '' ? '' : ` \\fI${roff(takes)}\\fR`}`, roff(text)]
    }),
  ]
}

function listed(text: string, values: readonly string[]): string {
  return values.length > 0 ? `${text}: ${values.join(', ')}` : text
}

/** A line of text: backslashes and dashes stand for themselves, and no line begins with a request. */
function roff(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/^(?=[.'])/, '\\&')
}
