import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type QemuFormat, qemuIo } from './qemu.ts'

/**
 * What a disk holds, as the writes that made it. It knows nothing of images: `contentOf` reckons the bytes from the
 * writes alone, and `writePattern` has QEMU make them in an image of any format.
 */
export interface Pattern {
  readonly size: number
  /** In order: a later one may cover an earlier one. What none covers is a hole. */
  readonly writes: readonly Write[]
}

export interface Write {
  readonly offset: number
  readonly length: number
  readonly content: WriteContent
}

export type WriteContent =
  /** One byte over and over; 0 writes zeros as data. */
  | { readonly kind: 'byte'; readonly value: number }
  /** Bytes that do not compress. */
  | { readonly kind: 'noise'; readonly seed: number }
  /** Zeros by way of the image's tables, where its format has such. */
  | { readonly kind: 'zeroed' }

/** Numbers from 0 to 1 (exclusive), the same for each seed: Marsaglia's xorshift, 32 bits. */
export function randomOf(seed: number): () => number {
  const words = wordsOf(seed)
  return () => words() / 2 ** 32
}

/** One of `choices`. */
export function pick<T>(random: () => number, choices: readonly T[]): T {
  return choices[Math.floor(random() * choices.length)] as T
}

function wordsOf(seed: number): () => number {
  let state = (Math.imul(seed, 0x9e3779b1) ^ 0x2545f491) >>> 0 || 1
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    state >>>= 0
    return state
  }
}

/** `length` bytes that do not compress, the same for each seed. */
export function noise(seed: number, length: number): Buffer {
  const words = wordsOf(seed)
  const filled = new Uint32Array(Math.ceil(length / 4)).map(words)
  return Buffer.from(filled.buffer, 0, length)
}

const LENGTHS = [1, 511, 512, 513, 4096, 5000, 65_535, 65_536, 65_537, 300_000, 2 ** 20 + 5, 2 ** 21]
const ALIGNMENTS = [1, 1, 512, 4096, 65_536, 2 ** 21]

/** Some twenty writes at places and lengths that are seldom a format's own, among them the disk's first and last byte. */
export function makePattern(seed: number, size: number, count = 20): Pattern {
  const random = randomOf(seed)
  const somewhere = (): Write => {
    const alignment = pick(random, ALIGNMENTS)
    const offset = Math.floor((random() * size) / alignment) * alignment
    const length = Math.min(pick(random, LENGTHS), size - offset)
    return { offset, length, content: someContent(random) }
  }
  const edges: Write[] = [
    { offset: 0, length: Math.min(3, size), content: { kind: 'byte', value: 0xeb } },
    { offset: size - Math.min(2, size), length: Math.min(2, size), content: { kind: 'byte', value: 0xaa } },
  ]
  return { size, writes: size === 0 ? [] : [...Array.from({ length: count }, somewhere), ...edges] }
}

function someContent(random: () => number): WriteContent {
  const kind = random()
  if (kind < 0.4) return { kind: 'noise', seed: Math.floor(random() * 2 ** 31) }
  if (kind < 0.7) return { kind: 'byte', value: 1 + Math.floor(random() * 255) }
  return kind < 0.85 ? { kind: 'byte', value: 0 } : { kind: 'zeroed' }
}

/** Every byte written, with noise: there is no hole. */
export function fullPattern(seed: number, size: number): Pattern {
  return { size, writes: [{ offset: 0, length: size, content: { kind: 'noise', seed } }] }
}

/** The disk's bytes; `size` may be larger than the pattern's, and what is beyond is zero. */
export function contentOf(pattern: Pattern, size = pattern.size): Buffer {
  const disk = Buffer.alloc(size)
  for (const { offset, length, content } of pattern.writes) {
    if (content.kind === 'noise') noise(content.seed, length).copy(disk, offset)
    else disk.fill(content.kind === 'byte' ? content.value : 0, offset, offset + length)
  }
  return disk
}

/** Has QEMU do the pattern's writes in an image. */
export async function writePattern(path: string, format: QemuFormat, { writes }: Pattern): Promise<void> {
  if (writes.length === 0) return
  const folder = await mkdtemp(join(tmpdir(), 'diskferry-noise-'))
  try {
    const commands = await Promise.all(writes.map((write, index) => commandOf(write, join(folder, String(index)))))
    await qemuIo(path, format, commands)
  } finally {
    await rm(folder, { recursive: true })
  }
}

async function commandOf({ offset, length, content }: Write, noiseFile: string): Promise<string> {
  if (content.kind === 'zeroed') return `write -q -z ${offset} ${length}`
  if (content.kind === 'byte') return `write -q -P ${content.value} ${offset} ${length}`
  await writeFile(noiseFile, noise(content.seed, length))
  return `write -q -s ${noiseFile} ${offset} ${length}`
}
