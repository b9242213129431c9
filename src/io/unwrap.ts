import { createGunzip } from 'node:zlib'
import { KiB } from '../bytes/units.ts'
import type { SequentialReader } from './sequential-reader.ts'
import type { SequentialSource } from './sequential-source.ts'
import { through } from './through.ts'
import { unpackedFrames } from './zstd-frames.ts'

const CHUNK_SIZE = 256 * KiB

/** What a compressed file unpacks to, front to back. No more than some chunks of it, or zstd's window, is ever held. */
export function unwrapped(reader: SequentialReader, wrapper: 'gzip' | 'zstd'): SequentialSource {
  const name = `${reader.name}, unpacked`
  return { name, chunks: () => (wrapper === 'gzip' ? gunzipped(reader) : unpackedFrames(reader)) }
}

function gunzipped(reader: SequentialReader): AsyncGenerator<Uint8Array> {
  return through(packedBytes(reader), createGunzip({ chunkSize: CHUNK_SIZE }), reader)
}

async function* packedBytes(reader: SequentialReader): AsyncGenerator<Uint8Array> {
  for (let bytes = await reader.next(CHUNK_SIZE); bytes !== undefined; bytes = await reader.next(CHUNK_SIZE)) {
    yield bytes
  }
}
