/** One's complement of the sum of all bytes, with the four of the checksum's own field taken as zero (VHD, ZVHD). */
export function complementSum(bytes: Uint8Array, fieldOffset: number): number {
  let sum = 0
  for (let at = 0; at < bytes.length; at++) {
    if (at < fieldOffset || at >= fieldOffset + 4) sum += bytes[at] as number
  }
  return ~sum >>> 0
}
