import type { Flag, Verb } from './grammar.ts'

/** Shells that completion is made for. */
export const SHELLS = ['bash', 'zsh', 'fish'] as const
export type Shell = (typeof SHELLS)[number]

/** A script that teaches a shell the grammar. Where nothing is known, names of files are completed. */
export function completionScript(shell: Shell, verbs: readonly Verb[]): string {
  return { bash, zsh, fish }[shell](verbs)
}

const names = (verbs: readonly Verb[]) => verbs.map(({ name }) => name)
const spellings = ({ short, long }: Flag) => (short === undefined ? [long] : [short, long])

function bash(verbs: readonly Verb[]): string {
  const values = verbs.flatMap(({ name, flags }) =>
    flags.flatMap((flag) => (flag.values.length > 0 ? [bashValues(name, flag)] : [])),
  )
  const words = verbs.map((verb) => `    ${verb.name}) words='${bashWords(verb)}' ;;`)
  return `# bash completion for diskferry: source <(diskferry completion bash)
_diskferry() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} verb=\${COMP_WORDS[1]} words=
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    COMPREPLY=($(compgen -W '${names(verbs).join(' ')} --help --version' -- "$current"))
    return
  fi
  case $verb:$previous in
${values.join('\n')}
  esac
  case $verb in
${words.join('\n')}
  esac
  [[ $current == -* || $words != -* ]] && COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _diskferry diskferry
`
}

function bashValues(verb: string, flag: Flag): string {
  const cases = spellings(flag).map((spelling) => `${verb}:${spelling}`)
  return `    ${cases.join('|')}) COMPREPLY=($(compgen -W '${flag.values.join(' ')}' -- "$current")); return ;;`
}

/** Values of arguments come first: they are offered without a dash. */
function bashWords(verb: Verb): string {
  return [...verb.arguments.flatMap(({ values }) => values), ...verb.flags.flatMap(spellings), '--help'].join(' ')
}

function zsh(verbs: readonly Verb[]): string {
  return `#compdef diskferry
# zsh completion for diskferry: source <(diskferry completion zsh)
_diskferry() {
  local -a verbs=(
${verbs.map(({ name, summary }) => `    '${name}:${zshText(summary)}'`).join('\n')}
  )
  if ((CURRENT == 2)); then
    _describe command verbs
    return
  fi
  shift words
  ((CURRENT--))
  case $words[1] in
${verbs.map(zshVerb).join('\n')}
  esac
}
if [[ $funcstack[1] == _diskferry ]]; then _diskferry "$@"; else compdef _diskferry diskferry; fi
`
}

function zshVerb(verb: Verb): string {
  const flags = verb.flags.flatMap((flag) => spellings(flag).map((spelling) => zshFlag(spelling, flag)))
  const places = verb.arguments.map(
    ({ usage, values }, index) =>
      `'${index + 1}:${zshText(usage)}:${values.length > 0 ? `(${values.join(' ')})` : '_files'}'`,
  )
  return `    ${verb.name}) _arguments ${[...flags, ...places].join(' ')} ;;`
}

function zshFlag(spelling: string, { takes, description, values }: Flag): string {
  const action = values.length > 0 ? `(${values.join(' ')})` : '_files'
  return `'${spelling}[${zshText(description)}]${takes === '' ? '' : `:${zshText(takes)}:${action}`}'`
}

/** What has a meaning inside of quotes or of a specification. */
function zshText(text: string): string {
  return text.replace(/[[\]:\\]/g, '\\$&').replaceAll("'", "'\\''")
}

function fish(verbs: readonly Verb[]): string {
  const lines = verbs.flatMap((verb) => [
    `complete -c diskferry -n __fish_use_subcommand -f -a ${verb.name} -d ${fishText(verb.summary)}`,
    ...verb.flags.map((flag) => fishFlag(verb.name, flag)),
    ...verb.arguments.flatMap(({ values }) =>
      values.length > 0 ? [`complete -c diskferry ${within(verb.name)} -f -a ${fishText(values.join(' '))}`] : [],
    ),
  ])
  return `# fish completion for diskferry: diskferry completion fish | source\n${lines.join('\n')}\n`
}

const within = (verb: string) => `-n '__fish_seen_subcommand_from ${verb}'`

function fishFlag(verb: string, { short, long, takes, description, values }: Flag): string {
  const spelling = `${short === undefined ? '' : `-s ${short.slice(1)} `}-l ${long.slice(2)}`
  const value = takes === '' ? '' : values.length > 0 ? ` -x -a ${fishText(values.join(' '))}` : ' -r'
  return `complete -c diskferry ${within(verb)} ${spelling}${value} -d ${fishText(description)}`
}

function fishText(text: string): string {
  return `'${text.replace(/['\\]/g, '\\$&')}'`
}
