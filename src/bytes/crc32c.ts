import { createRequire } from 'node:module'

type Crc32c = (bytes: Uint8Array, previous?: number) => number
export type Crc32cBackend = 'fast-crc32c (native)' | '@node-rs/crc32' | 'fast-crc32c (JavaScript)'

const require = createRequire(import.meta.url)
const { calculate, backend } = load()

/** Which implementation computes checksums here: the JavaScript one is some twenty times slower. */
export const crc32cBackend: Crc32cBackend = backend

/**
 * CRC-32C (Castagnoli) of `bytes`, as an unsigned 32-bit number; `previous` is the CRC of what came before them.
 * Computed by fast-crc32c. Its native part is built when it is installed and falls back to JavaScript without a
 * word; then the prebuilt @node-rs/crc32 serves where it is there.
 */
export function crc32c(bytes: Uint8Array, previous = 0): number {
  return calculate(bytes, previous) >>> 0
}

function load(): { calculate: Crc32c; backend: Crc32cBackend } {
  const fast = require('fast-crc32c') as { calculate: Crc32c }
  if (isNative()) return { calculate: fast.calculate, backend: 'fast-crc32c (native)' }
  try {
    const prebuilt = require('@node-rs/crc32') as { crc32c: Crc32c }
    return { calculate: prebuilt.crc32c, backend: '@node-rs/crc32' }
  } catch {
    return { calculate: fast.calculate, backend: 'fast-crc32c (JavaScript)' }
  }
}

function isNative(): boolean {
  try {
    createRequire(require.resolve('fast-crc32c'))('sse4_crc32')
    return true
  } catch {
    return false
  }
}

/** The Castagnoli polynomial, bit-reversed. */
const POLYNOMIAL = 0x82f63b78
/** The polynomial 1 in the reversed representation. */
const ONE = 0x80000000

/** Product of two polynomials over GF(2), modulo the Castagnoli polynomial. */
function multiply(a: number, b: number): number {
  let product = 0
  let factor = b
  for (let bit = ONE; bit !== 0; bit >>>= 1) {
    if (a & bit) product ^= factor
    factor = factor & 1 ? (factor >>> 1) ^ POLYNOMIAL : factor >>> 1
  }
  return product >>> 0
}

/** x^(8 · 2^k) for k = 0..52: what appending 2^k bytes multiplies a checksum by. */
const BYTE_POWERS: readonly number[] = (() => {
  let power = ONE >>> 8
  return Array.from({ length: 53 }, () => {
    const current = power
    power = multiply(power, power)
    return current
  })
})()

/** What appending `length` bytes multiplies a checksum by. */
function shiftBy(length: number): number {
  let shift = ONE
  for (let rest = length, k = 0; rest > 0; rest = Math.floor(rest / 2), k++) {
    if (rest % 2 === 1) shift = multiply(BYTE_POWERS[k] as number, shift)
  }
  return shift
}

/** CRC-32C of A followed by B, from the CRC of each and the length of B in bytes. */
export function combineCrc32c(crcA: number, crcB: number, lengthB: number): number {
  return (multiply(shiftBy(lengthB), crcA) ^ crcB) >>> 0
}

/** CRC-32C of bytes whose head, of CRC `oldHead`, becomes one of `newHead` and the same length; `rest` bytes follow it. */
export function replaceHeadCrc32c(whole: number, oldHead: number, newHead: number, rest: number): number {
  return (whole ^ combineCrc32c((oldHead ^ newHead) >>> 0, 0, rest)) >>> 0
}

/** CRC-32C of `length` zero bytes that follow bytes whose CRC is `previous`, without touching any. */
export function crc32cOfZeros(length: number, previous = 0): number {
  return ~multiply(shiftBy(length), ~previous >>> 0) >>> 0
}

/** A CRC-32C as object stores write it: its four bytes, most significant first, in base64. */
export function crc32cToBase64(crc: number): string {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(crc)
  return bytes.toString('base64')
}

/** Reads a CRC-32C as object stores write it; undefined for what is none, such as a checksum of checksums. */
export function crc32cFromBase64(text: string): number | undefined {
  const bytes = Buffer.from(text, 'base64')
  return bytes.length === 4 && bytes.toString('base64') === text ? bytes.readUInt32BE() : undefined
}

/** A CRC-32C as people write it: eight hexadecimal digits. */
export function crc32cToHex(crc: number): string {
  return crc.toString(16).padStart(8, '0')
}
