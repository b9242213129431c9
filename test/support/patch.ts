/** A copy of `bytes` with some of them replaced. */
export function patched(bytes: Uint8Array, offset: number, replacement: Uint8Array | readonly number[]): Buffer {
  const copy = Buffer.from(bytes)
  copy.set(replacement, offset)
  return copy
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

export function u64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(value)
  return bytes
}

/** A copy in which some bits of one byte are set. */
export function withBits(bytes: Uint8Array, offset: number, bits: number): Buffer {
  return patched(bytes, offset, [(bytes[offset] ?? 0) | bits])
}
