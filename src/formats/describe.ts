import { describeOption } from './options.ts'
import { formats } from './registry.ts'

/** What a format can do, as plain data. */
export interface FormatDescription {
  readonly name: string
  readonly title: string
  readonly extensions: readonly string[]
  readonly reads: boolean
  readonly writes: boolean
  readonly options: readonly {
    readonly key: string
    readonly takes: string
    readonly default?: string | number
    readonly help: string
  }[]
}

/** Every format that is known, made from the registry. */
export function describeFormats(): FormatDescription[] {
  return formats.map(({ name, title, extensions, reader, writer }) => ({
    name,
    title,
    extensions,
    reads: reader !== undefined,
    writes: writer !== undefined,
    options: Object.entries(writer?.options ?? {}).map(([key, spec]) => ({
      key,
      takes: describeOption(spec),
      ...(spec.type !== 'text' && { default: spec.default }),
      help: spec.help,
    })),
  }))
}
