import { DiskferryError } from './errors.ts'

/*
 * libdeflate as WebAssembly, from the optional package of that name: at the same level some 30 % faster than Node's zlib,
 * and 2 % smaller. It makes whole zlib streams with a window of 32 KiB only.
 */

type ZlibOf = (unit: Uint8Array, level?: number) => Uint8Array
let loaded: ZlibOf | undefined

/**
 * Must have been awaited in this thread before a unit is packed.
 * @throws DiskferryError `usage` when the package is not installed
 */
export async function loadLibdeflate(): Promise<void> {
  try {
    loaded ??= (await import('libdeflate')).zlib
  } catch (cause) {
    throw new DiskferryError('usage', 'compressor=libdeflate needs the package libdeflate, which is not here', {
      hint: 'npm install libdeflate, or leave that option out',
      cause,
    })
  }
}

/** One zlib stream (RFC 1950) that holds `unit`. */
export function libdeflateZlib(unit: Uint8Array, level: number): Uint8Array {
  if (loaded === undefined) throw new DiskferryError('plan-violated', 'libdeflate was used before it was loaded')
  return loaded(unit, level)
}
