import { Argument, type Command } from 'commander'
import { completionScript, SHELLS, type Shell } from './completion.ts'
import { verbsOf } from './grammar.ts'
import { printResult } from './output.ts'

const EXAMPLES = `
Examples:
  source <(diskferry completion bash)                                          # in ~/.bashrc
  source <(diskferry completion zsh)                                           # in ~/.zshrc, after compinit
  diskferry completion fish > ~/.config/fish/completions/diskferry.fish`

export function addCompletionCommand(program: Command): void {
  program
    .command('completion')
    .summary('print completion for a shell')
    .description('Prints a script that lets a shell complete commands, options and formats.')
    .addArgument(new Argument('<shell>', 'which shell').choices(SHELLS))
    .addHelpText('after', EXAMPLES)
    .action((shell: Shell) => printResult(completionScript(shell, verbsOf(program)).trimEnd()))
}
