import { pipeline, Readable, type Transform } from 'node:stream'
import { DiskferryError } from '../bytes/errors.ts'
import type { SequentialReader } from './sequential-reader.ts'

/** What `unpacker` makes of the bytes. What it says of them becomes an error with their place. */
export async function* through(
  packed: AsyncGenerator<Uint8Array>,
  unpacker: Transform,
  reader: SequentialReader,
): AsyncGenerator<Uint8Array> {
  pipeline(Readable.from(packed, { highWaterMark: 1 }), unpacker, () => undefined)
  try {
    for await (const chunk of unpacker) yield chunk as Uint8Array
  } catch (cause) {
    throw corrupt(reader, cause)
  } finally {
    unpacker.destroy()
  }
}

function corrupt({ name, position }: SequentialReader, cause: unknown): unknown {
  const found = String((cause as NodeJS.ErrnoException).code ?? cause)
  if (!/^Z_|ZSTD/.test(found)) return cause
  const isCut = found === 'Z_BUF_ERROR'
  const message = isCut ? `${name} ends before its compressed stream does` : `${name} does not unpack: ${found}`
  const detail = { found, expected: 'a whole compressed stream', offset: position, cause }
  return new DiskferryError(isCut ? 'truncated' : 'corrupt-data', message, detail)
}
