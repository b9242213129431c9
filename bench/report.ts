import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { BenchImage } from './images.ts'
import { describeMachine, describeVersions, hostKind } from './machine.ts'
import type { Measurement, Spread } from './measure.ts'

/** What one run of the benchmarks found, as it is kept. */
export interface BenchReport {
  readonly date: string
  readonly machine: ReturnType<typeof describeMachine>
  readonly versions: ReturnType<typeof describeVersions>
  readonly runs: number
  readonly cases: readonly CaseResult[]
}

export interface CaseResult {
  readonly name: string
  readonly title: string
  readonly target?: number | undefined
  /** Our seconds by the fastest peer's, median of the rounds. */
  readonly ratio: number
  /** The same, of our library in a process that had started before. */
  readonly inService: number
  readonly image: Omit<BenchImage, 'file'>
  readonly programs: readonly ProgramResult[]
}

export interface ProgramResult {
  readonly name: string
  readonly seconds: Spread
  readonly cpuSeconds: Spread
  readonly peakBytes: Spread
  /** Our seconds by those of this program in the same round: below 1, ours was faster. */
  readonly ratio: Spread
  readonly runs: readonly Measurement[]
}

/** Whether a program is one of ours; the others are peers. */
export function isOurs(program: string): boolean {
  return program.startsWith('diskferry')
}

/** Writes a report beside its machine and versions; `kind` tells reports of one day apart. Gives the file's name. */
export async function saveReport(folder: string, kind: string, figures: object): Promise<string> {
  const date = new Date().toISOString().slice(0, 10)
  const report = { date, machine: describeMachine(), versions: describeVersions(), ...figures }
  const name = `${date}-${hostKind()}${kind}.json`
  await mkdir(folder, { recursive: true })
  await writeFile(join(folder, name), `${JSON.stringify(report, rounded, 2)}\n`)
  return name
}

/** A tenth of a millisecond is more than any of this is good for. */
function rounded(_key: string, value: unknown): unknown {
  return typeof value === 'number' ? Math.round(value * 1e4) / 1e4 : value
}
