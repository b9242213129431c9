import { existsSync, statfsSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { type BenchCase, cases, type Place } from './cases.ts'
import { type BenchImage, debianImage, quickImage, tenfold, warm } from './images.ts'
import { describeMachine, describeVersions, hostKind } from './machine.ts'
import { type Measurement, runByTurns, type Spread, spreadOf } from './measure.ts'
import { drainStore, swiftStore } from './stores.ts'

const USAGE = `usage: npm run bench -- [--quick] [--runs N] [--only NAME,…] [--no-save]
  --quick    a small image made on the spot, 2 runs, and no file of results
  --runs N   rounds that count, after one that does not (default 5)
  --only     ${cases.map(({ name }) => name).join(', ')}
  --no-save  no file of results`

interface ProgramResult {
  readonly name: string
  readonly seconds: Spread
  readonly cpuSeconds: Spread
  readonly peakBytes: Spread
  /** Seconds of this program by those of ours in the same round: above 1, ours was faster. */
  readonly timesOurs: Spread
  readonly runs: readonly Measurement[]
}

interface CaseResult {
  readonly name: string
  readonly title: string
  readonly image: Omit<BenchImage, 'file'>
  readonly programs: readonly ProgramResult[]
}

process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= 'true'
const { values: flags } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    runs: { type: 'string' },
    only: { type: 'string', multiple: true, default: [] },
    'no-save': { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

if (flags.help) console.log(USAGE)
else await main(Number(flags.runs ?? (flags.quick ? 2 : 5)), chosen(flags.only))

function chosen(names: readonly string[]): readonly BenchCase[] {
  const wanted = names.flatMap((list) => list.split(','))
  const unknown = wanted.find((name) => !cases.some((one) => one.name === name))
  if (unknown !== undefined) throw new Error(`there is no case ${unknown}\n${USAGE}`)
  return wanted.length === 0 ? cases : cases.filter(({ name }) => wanted.includes(name))
}

async function main(runs: number, wanted: readonly BenchCase[]): Promise<void> {
  if (!Number.isSafeInteger(runs) || runs < 1) throw new Error(`--runs takes a whole number\n${USAGE}`)
  const folder = await mkdtemp(join(scratch(flags.quick ? 2 ** 31 : 12 * 2 ** 30), 'diskferry-bench-'))
  try {
    const image = flags.quick ? await quickImage(folder) : await debianImage()
    const results: CaseResult[] = []
    for (const one of wanted) {
      const result = await runCase(one, one.image === 'tenfold' ? await tenfold(image, folder) : image, folder, runs)
      print(result)
      results.push(result)
    }
    if (!flags.quick && !flags['no-save']) await save(results, runs)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** A folder in memory, where that has room: then no disk is measured. */
function scratch(needed: number): string {
  const memory = '/dev/shm'
  if (!existsSync(memory)) return tmpdir()
  const { bavail, bsize } = statfsSync(memory)
  return bavail * bsize >= needed ? memory : tmpdir()
}

async function runCase(one: BenchCase, image: BenchImage, folder: string, runs: number): Promise<CaseResult> {
  process.env.TMPDIR = folder
  const store = await (one.store === 'swift' ? swiftStore() : one.store === 'drain' ? drainStore() : undefined)
  try {
    warm(image)
    const place: Place = { folder, store }
    const measured = await runByTurns(one.programs(image, place), runs)
    const { file: _, ...facts } = image
    return { name: one.name, title: one.title, image: facts, programs: summarise(measured) }
  } finally {
    await store?.stop()
  }
}

function summarise(measured: ReadonlyMap<string, readonly Measurement[]>): ProgramResult[] {
  const [ours = []] = measured.values()
  return [...measured].map(([name, runs]) => ({
    name,
    seconds: spreadOf(runs.map(({ seconds }) => seconds)),
    cpuSeconds: spreadOf(runs.map(({ cpuSeconds }) => cpuSeconds)),
    peakBytes: spreadOf(runs.map(({ peakBytes }) => peakBytes)),
    timesOurs: spreadOf(runs.map(({ seconds }, round) => seconds / (ours[round]?.seconds ?? Number.NaN))),
    runs,
  }))
}

function print({ name, title, image, programs }: CaseResult): void {
  console.log(`\n${name}: ${title} (${image.name}: ${gib(image.virtualSize)} disk, ${gib(image.storedSize)} stored)`)
  const width = Math.max(...programs.map((program) => program.name.length))
  for (const { name, seconds, cpuSeconds, peakBytes, timesOurs } of programs) {
    const ratio = name === 'diskferry' ? '' : `; ${timesOurs.median.toFixed(2)} times ours`
    const time = `${seconds.median.toFixed(2)} s (${seconds.min.toFixed(2)} to ${seconds.max.toFixed(2)})`
    const memory = `${Math.round(peakBytes.median / 2 ** 20)} MiB`
    console.log(`  ${name.padEnd(width)}  ${time}, ${cpuSeconds.median.toFixed(2)} s of CPU, ${memory}${ratio}`)
  }
}

function gib(bytes: number): string {
  return `${(bytes / 2 ** 30).toFixed(2)} GiB`
}

/** A tenth of a millisecond is more than any of this is good for. */
function rounded(_key: string, value: unknown): unknown {
  return typeof value === 'number' ? Math.round(value * 1e4) / 1e4 : value
}

async function save(results: readonly CaseResult[], runs: number): Promise<void> {
  const date = new Date().toISOString().slice(0, 10)
  const folder = fileURLToPath(new URL('results', import.meta.url))
  const report = { date, machine: describeMachine(), versions: describeVersions(), runs, cases: results }
  await mkdir(folder, { recursive: true })
  await writeFile(join(folder, `${date}-${hostKind()}.json`), `${JSON.stringify(report, rounded, 2)}\n`)
  console.log(`\nbench/results/${date}-${hostKind()}.json`)
}
