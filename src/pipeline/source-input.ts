import { fileSource } from '../io/file-source.ts'
import { memorySource, type Source } from '../io/source.ts'

/** An image: a path, its bytes, or anything that has `size` and `read(offset, length)`. */
export type SourceInput = string | Uint8Array | Source

/** The source itself. One that is made here is the maker's to close; the caller's own is given back as it is. */
export async function openSource(input: SourceInput): Promise<Source> {
  if (typeof input === 'string') return fileSource(input)
  return input instanceof Uint8Array ? memorySource(input) : input
}
