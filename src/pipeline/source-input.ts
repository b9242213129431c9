import { dirname, resolve } from 'node:path'
import type { FormatName } from '../formats/format.ts'
import type { OpenOptions } from '../formats/registry.ts'
import { type Companions, folderCompanions } from '../io/companions.ts'
import { fileSource } from '../io/file-source.ts'
import type { SequentialInput } from '../io/sequential-source.ts'
import { memorySource, type Source } from '../io/source.ts'

/** An image: a path, its bytes, or anything that has `size` and `read(offset, length)`. */
export type SourceInput = string | Uint8Array | Source

/** What a conversion reads: an image as above, or one that comes front to back, once, such as a `Readable`. */
export type ConvertSource = SourceInput | SequentialInput

/** How an image may be opened. */
export interface OpenInput extends OpenOptions {
  /** The source's format, when it is known. It is believed, where otherwise the first and last bytes are probed. */
  from?: FormatName | undefined
}

/**
 * Files that an image may have as its own parts when the caller does not say: those beside a path that the caller named.
 */
function companionsOf(input: SourceInput): Companions | undefined {
  return typeof input === 'string' ? folderCompanions(dirname(resolve(input))) : undefined
}

/** An image, and how it is to be opened. */
export interface ImageInput extends OpenInput {
  source: SourceInput
}

/** What of it says how to open the image. */
export function openOptionsOf({ source, from, backing, snapshot, companions }: ImageInput): OpenInput {
  return { from, backing, snapshot, companions: companions ?? companionsOf(source) }
}

/** The source itself. One that is made here is the maker's to close; the caller's own is given back as it is. */
export async function openSource(input: SourceInput): Promise<Source> {
  if (typeof input === 'string') return fileSource(input)
  return input instanceof Uint8Array ? memorySource(input) : input
}
