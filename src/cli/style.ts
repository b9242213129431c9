import { styleText } from 'node:util'

type Style = Parameters<typeof styleText>[0]

/**
 * Text in a colour, on a terminal that shows colours and for someone who wants them (https://no-color.org). Only for
 * what goes to standard output.
 */
export function styled(style: Style, text: string): string {
  const { NO_COLOR, TERM } = process.env
  const wanted = process.stdout.isTTY && (NO_COLOR ?? '') === '' && TERM !== 'dumb'
  return wanted ? styleText(style, text) : text
}
