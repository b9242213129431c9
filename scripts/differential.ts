/**
 * Compares what we read of damaged images with what QEMU reads: npm run differential -- --readable 20000 --seed 1
 * Prints how often each kind of outcome was seen, and keeps images of a kind that docs/differential.md does not know in
 * the folder --out.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { comparable, compareMutant, isDisagreement, isReadable } from '../test/support/differential.ts'
import { classOf } from '../test/support/differential-classes.ts'
import { makeFuzzSubjects } from '../test/support/fuzz-subjects.ts'

const { values } = parseArgs({
  options: {
    readable: { type: 'string', default: '1000' },
    minutes: { type: 'string', default: '60' },
    seed: { type: 'string', default: '1' },
    out: { type: 'string', default: '.cache/differential' },
  },
})

mkdirSync(values.out, { recursive: true })
const folder = mkdtempSync(join(tmpdir(), 'diskferry-differential-'))
const subjects = comparable(await makeFuzzSubjects())
const until = performance.now() + Number(values.minutes) * 60_000
const counts = new Map<string, number>()
let made = 0
let readable = 0
let unknown = 0
try {
  for (; readable < Number(values.readable) && performance.now() < until; made++) {
    const compared = await compareMutant(subjects, Number(values.seed) * 1_000_003 + made, folder)
    if (compared === undefined) continue
    if (isReadable(compared)) readable++
    const known = classOf(compared)
    if (known === undefined && isDisagreement(compared)) {
      unknown++
      writeFileSync(join(values.out, `${compared.seed}.${compared.subject.format}`), compared.bytes)
      console.error(`${compared.seed}, ${compared.subject.name}: ${compared.verdict}: ${compared.detail}`)
    }
    const key = known === undefined ? compared.verdict : `${compared.verdict}: ${known.what}`
    counts.set(key, (counts.get(key) ?? 0) + 1)
  }
} finally {
  rmSync(folder, { recursive: true })
}
console.log(`${made} images made, ${readable} of them read by us; ${unknown} disagreements of no known kind`)
for (const [key, count] of [...counts].sort((a, b) => b[1] - a[1])) console.log(`${String(count).padStart(7)}  ${key}`)
process.exitCode = unknown === 0 ? 0 : 1
