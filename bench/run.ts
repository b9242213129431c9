import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { type BenchCase, cases, IN_SERVICE } from './cases.ts'
import { type BenchImage, BenchImages, warm } from './images.ts'
import { type Measurement, runByTurns, spreadOf } from './measure.ts'
import { type CaseResult, isOurs, type ProgramResult, saveReport } from './report.ts'
import { RESULTS } from './results.ts'
import { scratch } from './scratch.ts'
import { drainStore, givenStore, swiftStore } from './stores.ts'

const USAGE = `usage: npm run bench -- [--full | --smoke] [--runs N] [--only NAME,…] [--no-save]
  --full     every case, 5 rounds; without it the quick set, 2 rounds
  --smoke    a small image made on the spot, one round, and no file of results: does it all run?
  --runs N   rounds that count, after one that does not
  --only     ${cases.map(({ name }) => name).join(', ')}
  --no-save  no file of results
TEST_S3=http://KEY:SECRET@HOST:PORT runs s3-given too`

const STORES = { swift: swiftStore, given: givenStore, drain: drainStore }

process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= 'true'
const { values: flags } = parseArgs({
  options: {
    full: { type: 'boolean', default: false },
    smoke: { type: 'boolean', default: false },
    runs: { type: 'string' },
    only: { type: 'string', multiple: true, default: [] },
    'no-save': { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

if (flags.help) console.log(USAGE)
else await main(Number(flags.runs ?? (flags.full ? 5 : flags.smoke ? 1 : 2)), chosen(flags.only))

function chosen(names: readonly string[]): readonly BenchCase[] {
  const wanted = names.flatMap((list) => list.split(','))
  const unknown = wanted.find((name) => !cases.some((one) => one.name === name))
  if (unknown !== undefined) throw new Error(`there is no case ${unknown}\n${USAGE}`)
  if (wanted.length > 0) return cases.filter(({ name }) => wanted.includes(name))
  const possible = process.env.TEST_S3 === undefined ? cases.filter(({ store }) => store !== 'given') : cases
  return flags.full || flags.smoke ? possible : possible.filter(({ slow }) => slow !== true)
}

async function main(runs: number, wanted: readonly BenchCase[]): Promise<void> {
  if (!Number.isSafeInteger(runs) || runs < 1) throw new Error(`--runs takes a whole number\n${USAGE}`)
  const folder = await mkdtemp(join(scratch(flags.smoke ? 2 ** 31 : 14 * 2 ** 30), 'diskferry-bench-'))
  process.env.TMPDIR = folder
  try {
    const images = flags.smoke ? BenchImages.small(folder) : BenchImages.debian(folder)
    const results: CaseResult[] = []
    for (const one of wanted) {
      const result = await runCase(one, await images.get(one.image), folder, runs)
      print(result)
      results.push(result)
      // At once: what fails later takes nothing of it along.
      if (!flags.smoke && !flags['no-save']) await saveReport(RESULTS, kindOf(flags.only), { runs, cases: results })
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** What is only a part of the set takes no whole set's place. */
function kindOf(only: readonly string[]): string {
  return only.length > 0 ? '-some' : ''
}

async function runCase(one: BenchCase, image: BenchImage, folder: string, runs: number): Promise<CaseResult> {
  const { name, title, target } = one
  const store = one.store && (await STORES[one.store]())
  try {
    warm(image)
    const measured = await runByTurns(one.programs(image, { folder, store }), runs)
    const { file: _, ...facts } = image
    const programs = summarise(measured)
    const ratios = ratiosOf(measured)
    return { name, title, target, ...ratios, image: facts, programs }
  } finally {
    await store?.stop()
  }
}

/** Our time by that of the fastest peer: the median over rounds. */
function ratiosOf(measured: ReadonlyMap<string, readonly Measurement[]>): { ratio: number; inService: number } {
  const peers = [...measured].filter(([name]) => !isOurs(name))
  const beside = (ours: readonly Measurement[] = []) =>
    Math.max(
      ...peers.map(
        ([, peer]) => spreadOf(ours.map(({ seconds }, round) => seconds / (peer[round]?.seconds ?? 0))).median,
      ),
    )
  return { ratio: beside(measured.get('diskferry')), inService: beside(measured.get(IN_SERVICE)) }
}

function summarise(measured: ReadonlyMap<string, readonly Measurement[]>): ProgramResult[] {
  const [ours = []] = measured.values()
  return [...measured].map(([name, runs]) => ({
    name,
    seconds: spreadOf(runs.map(({ seconds }) => seconds)),
    cpuSeconds: spreadOf(runs.map(({ cpuSeconds }) => cpuSeconds)),
    peakBytes: spreadOf(runs.map(({ peakBytes }) => peakBytes)),
    ratio: spreadOf(runs.map(({ seconds }, round) => (ours[round]?.seconds ?? Number.NaN) / seconds)),
    runs,
  }))
}

function print({ name, title, image, programs, ratio, inService, target }: CaseResult): void {
  const goal = target === undefined ? '' : `, target ${target}`
  console.log(
    `\n${name}: ${title} (${gib(image.virtualSize)} disk, ${gib(image.storedSize)} stored): ` +
      `${ratio.toFixed(2)}, in a service ${inService.toFixed(2)}${goal}`,
  )
  const width = Math.max(...programs.map((program) => program.name.length))
  for (const { name, seconds, cpuSeconds, peakBytes, ratio } of programs) {
    const beside = isOurs(name) ? '' : `; ours takes ${ratio.median.toFixed(2)} of it`
    const time = `${seconds.median.toFixed(2)} s (${seconds.min.toFixed(2)} to ${seconds.max.toFixed(2)})`
    const memory = `${Math.round(peakBytes.median / 2 ** 20)} MiB`
    console.log(`  ${name.padEnd(width)}  ${time}, ${cpuSeconds.median.toFixed(2)} s of CPU, ${memory}${beside}`)
  }
}

function gib(bytes: number): string {
  return `${(bytes / 2 ** 30).toFixed(2)} GiB`
}
