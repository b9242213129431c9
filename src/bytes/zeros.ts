import { asBuffer } from './struct.ts'

const STEP = 64 * 1024
const ZEROS = Buffer.alloc(STEP)
/** What is looked at first: data that is not zero nearly always shows it here. */
const PEEK = 64

/** Tells whether bytes `start` to `end` are all zero. Compares by `memcmp`, which beats any loop in JavaScript. */
export function isZero(bytes: Uint8Array, start = 0, end = bytes.length): boolean {
  const peekEnd = Math.min(end, start + PEEK)
  for (let at = start; at < peekEnd; at++) if (bytes[at] !== 0) return false
  const view = asBuffer(bytes)
  for (let at = peekEnd; at < end; at += STEP) {
    const length = Math.min(STEP, end - at)
    if (ZEROS.compare(view, at, at + length, 0, length) !== 0) return false
  }
  return true
}
