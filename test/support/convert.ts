import { createHash } from 'node:crypto'
import { buffer } from 'node:stream/consumers'
import { type ConversionOptions, convertToStream, type WriterOptions } from '../../src/index.ts'

/** A conversion into memory, on this thread. */
export async function convertToBytes<T extends keyof WriterOptions>(options: ConversionOptions<T>): Promise<Buffer> {
  const { stream, result } = await convertToStream({ threads: 0, ...options })
  const [bytes] = await Promise.all([buffer(stream), result])
  return bytes
}

/** The guest's bytes, by our own reader. */
export function readDisk(source: ConversionOptions['source'], from?: ConversionOptions['from']): Promise<Buffer> {
  return convertToBytes({ source, from, to: 'raw' })
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/** Compares long buffers quickly: says where they first differ, where a matcher would print both. */
export function firstDifference(found: Uint8Array, expected: Uint8Array): string | undefined {
  if (Buffer.compare(found, expected) === 0) return undefined
  if (found.length !== expected.length) return `${found.length} bytes instead of ${expected.length}`
  const at = found.findIndex((byte, index) => byte !== expected[index])
  return `byte ${at} is ${found[at]} instead of ${expected[at]}`
}
