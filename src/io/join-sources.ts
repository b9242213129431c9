import { tooLarge } from '../bytes/errors.ts'
import { reachOf, readExactly, type Source, type SourceFile } from './source.ts'

/** Several sources, one behind the other, as one address space. */
export interface JoinedSource extends Source {
  /** Where each part begins, in the order in which they were given. */
  readonly bases: readonly number[]
}

/**
 * Joins sources without copying them. The parts stay whose they are: closing them is their owner's. As many parts as are
 * files, from the first on, worker threads read for themselves.
 */
export function joinSources(parts: readonly Source[], name?: string): JoinedSource {
  const bases = basesOf(parts)
  const size = (bases.at(-1) ?? 0) + (parts.at(-1)?.size ?? 0)
  const files = filesOf(parts, bases)
  const versions = parts.map(({ version }) => version)
  return {
    size,
    bases,
    ...(name !== undefined && { name }),
    ...(files !== undefined && { files }),
    ...(!versions.includes(undefined) && { version: versions.join(' ') }),
    read: (offset, length) => readAcross(parts, bases, offset, Math.min(offset + length, size)),
    async assertUnchanged() {
      for (const part of parts) await part.assertUnchanged?.()
    },
  }
}

function basesOf(parts: readonly Source[]): number[] {
  let end = 0
  return parts.map(({ size }) => {
    const base = end
    end += size
    if (!Number.isSafeInteger(end)) throw tooLarge('files joined', { found: end, expected: 'at most 2^53 - 1 bytes' })
    return base
  })
}

function filesOf(parts: readonly Source[], bases: readonly number[]): SourceFile[] | undefined {
  const files: SourceFile[] = []
  for (const [index, part] of parts.entries()) {
    for (const file of part.files ?? []) files.push({ ...file, base: file.base + (bases[index] as number) })
    if (part.size > 0 && reachOf(part.files) < part.size) break
  }
  return files.length > 0 ? files : undefined
}

/** A part that gives too little says so itself, under its own name and offset. */
async function readAcross(
  parts: readonly Source[],
  bases: readonly number[],
  offset: number,
  end: number,
): Promise<Uint8Array> {
  const pieces: Uint8Array[] = []
  for (let at = offset; at < end; ) {
    const index = bases.findLastIndex((base) => base <= at)
    const part = parts[index] as Source
    const from = at - (bases[index] as number)
    const piece = await readExactly(part, from, Math.min(end - at, part.size - from))
    pieces.push(piece)
    at += piece.length
  }
  return pieces.length === 1 ? (pieces[0] as Uint8Array) : Buffer.concat(pieces)
}
