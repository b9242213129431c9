import { pick, randomOf } from './pattern.ts'
import { resealed } from './vhd-builder.ts'

/** Numbers at which arithmetic goes wrong. */
const NUMBERS = [0n, 1n, 3n, 7n, 9n, 21n, 63n, 64n, 511n, 512n, 0x7fff_ffffn, 0x8000_0000n, 0xffff_fffen, 0xffff_ffffn]
const LARGE = [2n ** 53n - 1n, 2n ** 53n, 2n ** 56n - 512n, 2n ** 62n, 2n ** 63n, (2n ** 63n) | 0x1000n, 2n ** 64n - 1n]

/** A few changes of the kind that break readers, the same for each seed. */
export function mutate(image: Uint8Array, seed: number): Buffer {
  const random = randomOf(seed)
  let bytes: Buffer = Buffer.from(image)
  for (let left = 1 + Math.floor(random() * 4); left > 0; left--) bytes = change(bytes, random)
  return random() < 0.7 ? withGoodChecksums(bytes) : bytes
}

function change(bytes: Buffer, random: () => number): Buffer {
  const kind = random()
  if (kind < 0.05) return bytes.subarray(0, Math.floor(random() * bytes.length))
  if (kind < 0.08) return Buffer.concat([bytes, Buffer.alloc(1 + Math.floor(random() * 1024), pick(random, [0, 0xff]))])
  if (bytes.length < 8) return bytes
  const at = place(bytes.length - 8, random)
  if (kind < 0.4) bytes.writeUInt8(Math.floor(random() * 256), at)
  else if (kind < 0.6) bytes.writeUInt32BE(Number(pick(random, NUMBERS)), at)
  else if (kind < 0.8) bytes.writeBigUInt64BE(pick(random, [...NUMBERS, ...LARGE]), at)
  else if (kind < 0.9) bytes.copyWithin(at, place(bytes.length - 8, random), bytes.length)
  else bytes.fill(pick(random, [0, 0xff]), at, Math.min(at + 64, bytes.length))
  return bytes
}

/** Mostly where the structures are: the first bytes, the last, and the beginnings of clusters. */
function place(end: number, random: () => number): number {
  const where = random()
  if (where < 0.45) return Math.min(end, 4 * Math.floor(random() * 32))
  if (where < 0.6) return Math.min(end, 512 + 4 * Math.floor(random() * 300))
  if (where < 0.7) return Math.max(0, end - 504 + 4 * Math.floor(random() * 22))
  if (where < 0.9) return Math.min(end, 512 * Math.floor((random() * end) / 512) + 8 * Math.floor(random() * 4))
  return Math.floor(random() * end)
}

/** A VHD with a wrong checksum is refused at once; with the right one, what it says is believed. */
function withGoodChecksums(bytes: Buffer): Buffer {
  if (bytes.length < 2048) return bytes
  for (const [at, length, field] of [
    [0, 512, 64],
    [512, 1024, 36],
    [bytes.length - 512, 512, 64],
  ] as const) {
    const structure = bytes.subarray(at, at + length)
    if (/^(conectix|cxsparse)/.test(structure.toString('latin1', 0, 8))) structure.set(resealed(structure, field))
  }
  return bytes
}
