import { expect } from 'vitest'
import { type FormatName, isDiskferryError, openImage } from '../../src/index.ts'
import type { Companions } from '../../src/io/companions.ts'
import { allocatedBytes, retainedBytes } from './memory.ts'
import { pick, randomOf } from './pattern.ts'
import { countingSource } from './sources.ts'

/** An image to be damaged, and where its structures begin. */
export interface FuzzSubject {
  readonly name: string
  readonly bytes: Buffer
  /** Offsets and lengths of header and tables: most of the damage is done there. */
  readonly places: readonly (readonly [offset: number, length: number])[]
  /** Makes checksums good again, so that what the damaged fields say is believed. */
  readonly reseal?: (bytes: Buffer) => void
  /** Opens the damaged image through another one that names it. */
  readonly wrap?: (bytes: Buffer) => { bytes: Buffer; companions: Companions }
}

const MOST_MS = 5000
/** Bytes that stay behind after all rounds, and that one round may allocate. */
const MOST_RETAINED = 16 * 2 ** 20
const MOST_ALLOCATED = 64 * 2 ** 20
const MOST_READ = 2 ** 20
const ONE_MS = 2000
const NUMBERS = [0n, 1n, 2n, 3n, 7n, 127n, 128n, 511n, 512n, 0xffffn, 0x7fff_ffffn, 0x8000_0000n, 0xffff_ffffn]
const LARGE = [2n ** 32n, 2n ** 44n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 55n, 2n ** 60n, 2n ** 63n, 2n ** 64n - 1n]

/**
 * Damages images for some five seconds, the same way each time, opens them and walks their extents: nothing but
 * diskferry's own errors may come out, soon, and without much memory. Gives how often each outcome was seen.
 */
export async function fuzz(subjects: readonly FuzzSubject[], from: FormatName): Promise<Map<string, number>> {
  const end = performance.now() + MOST_MS
  const before = retainedBytes()
  const outcomes = new Map<string, number>()
  let round = 0
  for (; performance.now() < end; round++) {
    const subject = subjects[round % subjects.length] as FuzzSubject
    const outcome = await tryRound(subject, round, from)
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
  }
  expect(round).toBeGreaterThan(200)
  expect(retainedBytes() - before).toBeLessThan(MOST_RETAINED)
  return outcomes
}

async function tryRound(subject: FuzzSubject, round: number, from: FormatName): Promise<string> {
  const damaged = damage(subject, round)
  const { bytes, companions } = subject.wrap?.(damaged) ?? { bytes: damaged, companions: undefined }
  const source = countingSource(bytes)
  const started = performance.now()
  const before = allocatedBytes()
  try {
    const image = await openImage(source, { from, companions })
    for await (const _ of image.extents());
    return 'taken'
  } catch (error) {
    if (isDiskferryError(error) && error.code !== 'plan-violated') return error.code
    throw new Error(`round ${round}, a damaged ${subject.name}`, { cause: error })
  } finally {
    const largest = source.reads.reduce((most, { length }) => Math.max(most, length), 0)
    expect(largest, `round ${round}, a damaged ${subject.name}`).toBeLessThanOrEqual(MOST_READ)
    expect(performance.now() - started, `round ${round}, a damaged ${subject.name}`).toBeLessThan(ONE_MS)
    expect(allocatedBytes() - before, `round ${round}, a damaged ${subject.name}`).toBeLessThan(MOST_ALLOCATED)
  }
}

function damage({ bytes: whole, places, reseal }: FuzzSubject, seed: number): Buffer {
  const random = randomOf(seed)
  let bytes: Buffer = Buffer.from(whole)
  for (let left = 1 + Math.floor(random() * 3); left > 0; left--) {
    const kind = random()
    if (kind < 0.04) bytes = bytes.subarray(0, Math.floor(random() * bytes.length))
    const [offset, length] = random() < 0.9 ? pick(random, places) : ([0, bytes.length] as const)
    const at = offset + Math.floor(random() * length)
    if (at + 8 > bytes.length) continue
    if (kind < 0.4) bytes.writeUInt8(Math.floor(random() * 256), at)
    else if (kind < 0.7) bytes.writeUInt32LE(Number(pick(random, NUMBERS)), at - (at % 4))
    else if (kind < 0.95) bytes.writeBigUInt64LE(pick(random, [...NUMBERS, ...LARGE]), at - (at % 4))
    else bytes.copyWithin(at, offset, offset + Math.min(64, length))
  }
  if (random() < 0.8) reseal?.(bytes)
  return bytes
}
