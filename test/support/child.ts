import { fileURLToPath } from 'node:url'
import { runTool, type ToolOptions } from './tools.ts'

const library = fileURLToPath(new URL('../../dist/index.js', import.meta.url))

/** What a conversion in a process of its own came to. */
export interface ChildOutcome {
  readonly crc32c?: string
  readonly bytesWritten?: number
  /** When it was refused. */
  readonly error?: { readonly code: string; readonly found?: string | number; readonly hint?: string }
  /** The most memory that the process ever held, bytes. */
  readonly peakMemory: number
}

const SCRIPT = `
import { pathToFileURL } from 'node:url'
const [library, options] = process.argv.slice(1)
const { convert } = await import(pathToFileURL(library))
const outcome = await convert(JSON.parse(options)).then(
  ({ crc32c, bytesWritten }) => ({ crc32c, bytesWritten }),
  ({ code, found, hint }) => ({ error: { code, found, hint } }),
)
console.log(JSON.stringify({ ...outcome, peakMemory: process.resourceUsage().maxRSS * 1024 }))
`

/**
 * Converts with the built library in another process, which must then end by itself: whatever a conversion leaves
 * running would keep it, until the time is over and the test fails.
 */
export async function convertInChild(
  options: Readonly<Record<string, unknown>>,
  { shellPrefix, ...toolOptions }: ToolOptions & { readonly shellPrefix?: string } = {},
): Promise<ChildOutcome> {
  const args = ['--input-type=module', '--eval', SCRIPT, library, JSON.stringify(options)]
  const { stdout } =
    shellPrefix === undefined
      ? await runTool(process.execPath, args, toolOptions)
      : await runTool('bash', ['-c', `${shellPrefix}; exec "$0" "$@"`, process.execPath, ...args], toolOptions)
  return JSON.parse(stdout) as ChildOutcome
}
