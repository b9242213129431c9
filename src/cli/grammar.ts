import type { Command, Option } from 'commander'
import { formats } from '../index.ts'

/* The command line's grammar as plain data: what completion and the manual page are made from. */

export interface Flag {
  readonly short?: string
  /** With its dashes. */
  readonly long: string
  /** `<format>`, or nothing for a switch. */
  readonly takes: string
  readonly description: string
  /** All values that there are, where they can be counted. */
  readonly values: readonly string[]
}

export interface Verb {
  readonly name: string
  readonly summary: string
  readonly description: string
  readonly arguments: readonly {
    readonly usage: string
    readonly description: string
    readonly values: readonly string[]
  }[]
  readonly flags: readonly Flag[]
}

export function verbsOf(program: Command): Verb[] {
  return program.commands.map((command) => ({
    name: command.name(),
    summary: command.summary(),
    description: command.description(),
    arguments: command.registeredArguments.map((argument) => ({
      usage: argument.required ? `<${argument.name()}>` : `[${argument.name()}]`,
      description: argument.description,
      values: argument.argChoices ?? [],
    })),
    flags: command.options.map(flagOf),
  }))
}

function flagOf({ short, long, flags, description, argChoices }: Option): Flag {
  const takes = /[<[].*[>\]]/.exec(flags)?.[0] ?? ''
  const values = argChoices ?? (takes === '<format>' ? formatNames(long === '--to') : [])
  return { ...(short && { short }), long: long as string, takes, description, values }
}

function formatNames(written: boolean): string[] {
  return formats.flatMap(({ name, reader, writer }) => ((written ? writer : reader) ? [name] : []))
}
