import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { BenchReport } from './report.ts'

export const RESULTS = fileURLToPath(new URL('results', import.meta.url))

/** Files of results beside peers, oldest first. */
export function resultFiles(): string[] {
  return readdirSync(RESULTS)
    .filter((name) => name.endsWith('-cores.json'))
    .toSorted()
    .map((name) => join(RESULTS, name))
}

export function readReport(file: string): BenchReport {
  return JSON.parse(readFileSync(file, 'utf8')) as BenchReport
}
