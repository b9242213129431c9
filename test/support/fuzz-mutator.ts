import type { FuzzSubject, Place } from './fuzz-subjects.ts'
import { pick, randomOf } from './pattern.ts'
import { resealed } from './vhd-builder.ts'
import { reseal as resealVhdx } from './vhdx-patch.ts'
import { headerChecksum } from './zvhd-decoder.ts'

/** Numbers at which arithmetic goes wrong. */
const NUMBERS = [0n, 1n, 2n, 3n, 7n, 9n, 21n, 22n, 63n, 127n, 128n, 511n, 512n, 513n, 4096n, 0xffffn, 0x7fff_ffffn]
const LARGE = [31n, 32n, 44n, 53n, 55n, 56n, 60n, 62n, 63n, 64n].flatMap((bit) => [2n ** bit - 1n, 2n ** bit])
const MAX_64 = 2n ** 64n - 1n
const BIG_ENDIAN = new Set(['qcow2', 'vhd'])

/**
 * At most `most` changes of the kind that break readers, the same for each seed. `other` is one more image of the
 * format.
 */
export function mutate(subject: FuzzSubject, other: Buffer, seed: number, most = 4): Buffer {
  const random = randomOf(seed)
  let bytes: Buffer = Buffer.from(subject.bytes)
  for (let left = 1 + Math.floor(random() * most); left > 0; left--) bytes = change(bytes, subject, other, random)
  return random() < 0.85 ? reseal(bytes, subject.format) : bytes
}

function change(bytes: Buffer, subject: FuzzSubject, other: Buffer, random: () => number): Buffer {
  const kind = random()
  if (kind < 0.03) return bytes.subarray(0, Math.floor(random() * bytes.length))
  if (kind < 0.05) return Buffer.concat([bytes, Buffer.alloc(1 + Math.floor(random() * 1024), pick(random, [0, 0xff]))])
  const [offset, length] = random() < 0.95 ? pick(random, subject.places) : ([0, bytes.length] as const)
  const at = offset + aligned(Math.floor(random() ** 2 * length), random)
  if (at + 8 > bytes.length) return bytes
  if (kind < 0.25) bytes.writeUInt8(Math.floor(random() * 256), at)
  else if (kind < 0.35) bytes[at] = (bytes[at] as number) ^ (1 << Math.floor(random() * 8))
  else if (kind < 0.8) writeNumber(bytes, at, subject, random)
  else if (kind < 0.9) bytes.copyWithin(at, at - (at % 8) + 8, at - (at % 8) + 8 + pick(random, [4, 8, 16, 64]))
  else if (kind < 0.95) other.copy(bytes, at, Math.min(at, other.length), at + pick(random, [4, 8, 32, 512]))
  else bytes.fill(pick(random, [0, 0xff]), at, Math.min(at + 64, bytes.length))
  return bytes
}

/** Fields lie at multiples of their width; but not all. */
function aligned(offset: number, random: () => number): number {
  return random() < 0.9 ? offset - (offset % pick(random, [4, 8])) : offset
}

/** A number that breaks arithmetic, or one that points at a structure, the file's end, or a neighbour of what is there. */
function writeNumber(bytes: Buffer, at: number, { format, places }: FuzzSubject, random: () => number): void {
  const isBig = BIG_ENDIAN.has(format)
  const wide = random() < 0.5
  const there = wide ? bytes.readBigUInt64BE(at) : BigInt(bytes.readUInt32BE(at))
  const value = pick(random, [
    () => pick(random, NUMBERS),
    () => pick(random, LARGE),
    () => pointer(bytes.length, places, random),
    () => pointer(bytes.length, places, random) / 512n,
    () => there + pick(random, [-1n, 1n, 512n, 4096n]),
  ])()
  const bits = BigInt.asUintN(wide ? 64 : 32, value) & MAX_64
  if (wide) isBig ? bytes.writeBigUInt64BE(bits, at) : bytes.writeBigUInt64LE(bits, at)
  else isBig ? bytes.writeUInt32BE(Number(bits), at) : bytes.writeUInt32LE(Number(bits), at)
}

function pointer(size: number, places: readonly Place[], random: () => number): bigint {
  const [offset] = pick(random, places)
  return BigInt(pick(random, [offset, size, size - 1, size - (size % 512), Math.floor(random() * size)]))
}

/** With a wrong checksum an image is refused at once; with the right one, what its fields say is believed. */
function reseal(bytes: Buffer, format: string): Buffer {
  if (format === 'vhd') return resealVhd(bytes)
  if (format === 'vhdx') return resealVhdx(bytes)
  if (format === 'zvhd' || format === 'zvhd2') return resealZvhd(bytes)
  return bytes
}

function resealVhd(bytes: Buffer): Buffer {
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

function resealZvhd(bytes: Buffer): Buffer {
  for (const at of [0, bytes.length - 4096]) {
    if (at >= 0 && bytes.length >= at + 512) bytes.writeUInt32LE(headerChecksum(bytes.subarray(at)), at + 64)
  }
  return bytes
}
