import { BlockCoverage } from './block-coverage.ts'
import { attempt } from './fuzz-harness.ts'
import { mutate } from './fuzz-mutator.ts'
import { type FuzzSubject, placesOf } from './fuzz-subjects.ts'
import { pick, randomOf } from './pattern.ts'

export interface FuzzOptions {
  readonly subjects: readonly FuzzSubject[]
  readonly seed: number
  /** No round begins after so many milliseconds. */
  readonly forMs: number
  /** Called with what must never happen. */
  readonly onFinding: (finding: Finding) => void
  /** Called before each round with the bytes that are tried, for a watchdog. */
  readonly onRound?: (subject: FuzzSubject, bytes: Buffer) => void
}

export interface Finding {
  readonly round: number
  readonly subject: FuzzSubject
  readonly bytes: Buffer
  readonly error: unknown
}

export interface FuzzReport {
  readonly executions: number
  readonly seconds: number
  /** How often each end was seen. */
  readonly outcomes: ReadonlyMap<string, number>
  /** Mutants that reached something new, and so became subjects themselves. */
  readonly kept: number
  readonly coverage: { readonly ran: number; readonly all: number }
}

/** Rounds between two looks at the coverage: a look costs as much as some ten rounds. */
const BATCH = 40
const MOST_KEPT = 400
const READERS = /\/src\/(formats|bytes)\//

interface Tried {
  readonly subject: FuzzSubject
  readonly bytes: Buffer
}

/**
 * Damages images and tries them, guided by coverage: a mutant that makes the readers run a block of code for the first
 * time is damaged further. The same seed gives the same rounds, as far as the time reaches.
 */
export async function fuzz(options: FuzzOptions): Promise<FuzzReport> {
  const { subjects, seed, forMs } = options
  const started = performance.now()
  const coverage = new BlockCoverage(READERS)
  const pool = [...subjects]
  const outcomes = new Map<string, number>()
  let round = 0
  const run = async ({ subject, bytes }: Tried) => {
    options.onRound?.(subject, bytes)
    const outcome = await tryOne(subject, bytes, (error) => options.onFinding({ round, subject, bytes, error }))
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
    round++
  }
  try {
    for (const subject of subjects) await run({ subject, bytes: subject.bytes })
    coverage.add(coverage.take())
    while (performance.now() - started < forMs) {
      const batch = Array.from({ length: BATCH }, (_, index) =>
        mutant(pool, subjects, seed * 1_000_003 + round + index),
      )
      for (const tried of batch) await run(tried)
      const fresh = coverage.fresh(coverage.take())
      if (fresh.size > 0 && pool.length < subjects.length + MOST_KEPT) {
        pool.push(...(await findCauses(batch, coverage, fresh, run)))
      }
    }
    const seconds = (performance.now() - started) / 1000
    return { executions: round, seconds, outcomes, kept: pool.length - subjects.length, coverage: coverage.counts }
  } finally {
    coverage.close()
  }
}

async function tryOne(subject: FuzzSubject, bytes: Buffer, onFinding: (error: unknown) => void): Promise<string> {
  const wrapped = subject.wrap?.(bytes)
  try {
    return await attempt({ bytes: wrapped?.bytes ?? bytes, format: subject.format, companions: wrapped?.companions })
  } catch (error) {
    onFinding(error)
    return 'finding'
  }
}

/** Mostly of the images that were there first: the others are many, and of few kinds. */
function mutant(pool: readonly FuzzSubject[], first: readonly FuzzSubject[], seed: number): Tried {
  const random = randomOf(seed)
  const subject = pick(random, random() < 0.5 ? first : pool)
  const alike = pool.filter(({ format }) => format === subject.format)
  return { subject, bytes: mutate(subject, pick(random, alike).bytes, seed) }
}

/** Tries a batch again, one by one, to see which of its mutants ran the fresh blocks. */
async function findCauses(
  batch: readonly Tried[],
  coverage: BlockCoverage,
  fresh: Set<string>,
  run: (tried: Tried) => Promise<void>,
): Promise<FuzzSubject[]> {
  const causes: FuzzSubject[] = []
  for (const { subject, bytes } of batch) {
    await run({ subject, bytes })
    const ran = coverage.take()
    if (![...fresh].some((block) => ran.has(block))) continue
    for (const block of ran) fresh.delete(block)
    coverage.add(ran)
    causes.push({ ...subject, bytes, places: await placesOf({ ...subject, bytes }) })
    if (fresh.size === 0) break
  }
  coverage.add(fresh)
  return causes.filter(({ places }) => places.length > 0)
}

/** What a person wants to know of a run. */
export function describeReport({ executions, seconds, outcomes, kept, coverage }: FuzzReport): string {
  const counts = [...outcomes].sort((a, b) => b[1] - a[1]).map(([outcome, count]) => `${outcome} ${count}`)
  const share = Math.round((100 * coverage.ran) / Math.max(1, coverage.all))
  return [
    `${executions} executions in ${seconds.toFixed(1)} s: ${Math.round(executions / seconds)} a second`,
    `${coverage.ran} of ${coverage.all} blocks of src/formats and src/bytes ran (${share} %); ${kept} mutants kept`,
    counts.join(', '),
  ].join('\n')
}
