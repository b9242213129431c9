import { promisify } from 'node:util'
import { constants, inflateRaw } from 'node:zlib'
import { DiskferryError } from '../../bytes/errors.ts'
import { BLOCK_SIZE } from './spec.ts'

const inflate = promisify<Uint8Array, object, Buffer>(inflateRaw)

/** How far back deflate can refer. */
export const WINDOW_SIZE = 32 * 1024
const OPTIONS = { finishFlush: constants.Z_SYNC_FLUSH, maxOutputLength: BLOCK_SIZE, chunkSize: BLOCK_SIZE }

/**
 * Inflates the segment of a record that lies at `offset`, in the threads that Node keeps for zlib. It is first tried on
 * its own: zlib refuses a distance that reaches back too far, and only then is `windowBefore` asked for the bytes in front.
 * The first record has none.
 */
export async function inflateRecord(
  segment: Uint8Array,
  offset: number,
  windowBefore: (() => Promise<Uint8Array>) | undefined,
): Promise<Uint8Array> {
  try {
    return exactly(await inflate(segment, OPTIONS), offset)
  } catch (error) {
    if (windowBefore === undefined || !refersBack(error)) throw corrupt(error, offset)
  }
  const dictionary = await windowBefore()
  try {
    return exactly(await inflate(segment, { ...OPTIONS, dictionary }), offset)
  } catch (error) {
    throw corrupt(error, offset)
  }
}

/** A copy, so that a window does not keep its whole block. */
export function windowOf(block: Uint8Array): Uint8Array {
  return block.slice(-WINDOW_SIZE)
}

/** Whether zlib refused a distance that reaches back in front of the record. */
export function refersBack(error: unknown): boolean {
  return (error as Error).message === 'invalid distance too far back'
}

function exactly(block: Uint8Array, offset: number): Uint8Array {
  if (block.length === BLOCK_SIZE) return block
  throw new DiskferryError('corrupt-data', `a ZVHD record inflates to ${block.length} bytes instead of ${BLOCK_SIZE}`, {
    found: block.length,
    expected: BLOCK_SIZE,
    offset,
  })
}

function corrupt(cause: unknown, offset: number): DiskferryError {
  if (cause instanceof DiskferryError) return cause
  const found = (cause as NodeJS.ErrnoException).code ?? String(cause)
  const detail = { found, expected: 'a deflate segment', offset, cause }
  return new DiskferryError('corrupt-data', `the ZVHD record at offset ${offset} does not inflate: ${found}`, detail)
}
