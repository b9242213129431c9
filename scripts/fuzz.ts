/**
 * Fuzzes the readers for as long as is wanted: npm run fuzz -- --minutes 10 --seed 7 [--out folder]
 * What must never happen is written to the folder, with its error beside it; a run without any ends with 0.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Worker } from 'node:worker_threads'
import { describeReport, type Finding, fuzz } from '../test/support/fuzz.ts'
import { makeFuzzSubjects } from '../test/support/fuzz-subjects.ts'

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '1' },
    seed: { type: 'string', default: '1' },
    out: { type: 'string', default: '.cache/fuzz' },
  },
})

/** A round that hangs can't be ended from its own thread: another one keeps its bytes, and ends the process. */
const WATCHDOG = `
const { workerData: { memory, out } } = require('node:worker_threads')
const { writeFileSync } = require('node:fs')
const header = new Int32Array(memory, 0, 2)
let last = -1, since = Date.now()
setInterval(() => {
  if (header[0] !== last) { last = header[0]; since = Date.now(); return }
  if (Date.now() - since < 60000) return
  writeFileSync(out + '/hang-' + last, new Uint8Array(memory, 8, header[1]))
  console.error('round ' + last + ' hangs: its image is ' + out + '/hang-' + last)
  process.kill(process.pid, 'SIGKILL')
}, 1000)`
const MOST_BYTES = 64 * 2 ** 20

mkdirSync(values.out, { recursive: true })
const memory = new SharedArrayBuffer(8 + MOST_BYTES)
const header = new Int32Array(memory, 0, 2)
const watchdog = new Worker(WATCHDOG, { eval: true, workerData: { memory, out: values.out } })

let findings = 0
function keep({ round, subject, bytes, error }: Finding): void {
  const path = join(values.out, `seed-${values.seed}-round-${round}.${subject.format}`)
  writeFileSync(path, bytes)
  writeFileSync(`${path}.txt`, `a damaged ${subject.name}\n${error instanceof Error ? error.stack : String(error)}\n`)
  console.error(`${path}: ${String(error)}`)
  findings++
}

const report = await fuzz({
  subjects: await makeFuzzSubjects(),
  seed: Number(values.seed),
  forMs: Number(values.minutes) * 60_000,
  onFinding: keep,
  onRound(_, bytes) {
    header[0] = (header[0] as number) + 1
    header[1] = Math.min(bytes.length, MOST_BYTES)
    new Uint8Array(memory, 8).set(bytes.subarray(0, MOST_BYTES))
  },
})
await watchdog.terminate()
console.log(describeReport(report))
console.log(findings === 0 ? 'nothing was found' : `${findings} findings are in ${values.out}`)
process.exitCode = findings === 0 ? 0 : 1
