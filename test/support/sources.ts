import type { Source } from '../../src/index.ts'

export interface CountingSource extends Source {
  /** Every read that was asked for, in order. */
  readonly reads: { readonly offset: number; readonly length: number }[]
}

/** An image in memory that keeps account of what is read of it. */
export function countingSource(bytes: Uint8Array): CountingSource {
  const reads: { offset: number; length: number }[] = []
  return {
    size: bytes.length,
    name: 'counted',
    reads,
    async read(offset, length) {
      reads.push({ offset, length })
      return bytes.subarray(offset, offset + length)
    },
  }
}

/** An image that is nearly all zeros, of any size: `pieces` lie at their offsets. */
export function sparseSource(size: number, pieces: readonly { offset: number; bytes: Uint8Array }[]): Source {
  return {
    size,
    name: 'sparse',
    read(offset, length) {
      const answer = Buffer.alloc(Math.max(0, Math.min(length, size - offset)))
      for (const piece of pieces) {
        const from = Math.max(offset, piece.offset)
        const to = Math.min(offset + answer.length, piece.offset + piece.bytes.length)
        if (from < to) answer.set(piece.bytes.subarray(from - piece.offset, to - piece.offset), from - offset)
      }
      return answer
    },
  }
}
