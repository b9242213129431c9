import { DiskferryError } from '../bytes/errors.ts'
import type { SequentialReader } from '../io/sequential-reader.ts'
import { type DiskStream, type ImageFormat, PROBE_HEAD } from './format.ts'
import { WRAPPERS, type WrapperName } from './recognised.ts'
import { formatNamed, formats, probeWindow } from './registry.ts'

/**
 * Opens an image that comes front to back. Without `from` its format is probed from its first bytes.
 * @throws DiskferryError `unsupported-format`, with the reason, for one that can't be read so
 */
export async function openStream(reader: SequentialReader, from?: string): Promise<DiskStream> {
  const format = from === undefined ? await probeHead(reader) : formatNamed(from)
  if (format.openStream !== undefined) return format.openStream(reader, from !== undefined)
  throw new DiskferryError(
    'unsupported-format',
    `${reader.name} is ${format.title}, which can't be read from a stream`,
    {
      found: format.name,
      expected: formats.flatMap(({ name, openStream }) => (openStream ? [name] : [])).join(', '),
      hint: format.reader === undefined ? (format.refusal ?? UNREADABLE) : NEEDS_RANDOM_ACCESS,
    },
  )
}

const NEEDS_RANDOM_ACCESS =
  'its tables say where the disk lies in the file, in any order: store it, unpacked, in a file, and convert that'
const UNREADABLE = 'convert it with the tool that made it'

/** Which compressed file it is, if it is one that is unpacked on the way. */
export async function wrapperOf(reader: SequentialReader): Promise<WrapperName | undefined> {
  const { name } = await probeHead(reader)
  return WRAPPERS.find((wrapper) => wrapper === name)
}

async function probeHead(reader: SequentialReader): Promise<ImageFormat> {
  const head = await reader.peek(PROBE_HEAD)
  return probeWindow({ head, tail: Buffer.alloc(0), size: head.length }, reader.name)
}
