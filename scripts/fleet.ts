import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runFleet } from '../test/support/fleet.ts'

/*
 * npm run fleet: 60 exports by three workers, one of which is killed every few seconds, while Redis is restarted once.
 * Prints the counts; ends with 0 only if every object is there, once and whole, and nothing else.
 */

const folder = await mkdtemp(join(tmpdir(), 'fleet-'))
try {
  const say = (text: string) => console.error(text)
  const report = await runFleet({ folder, exports: 60, workers: 3, killEveryMs: 3000, mostKills: 1000, say })
  console.log(JSON.stringify(report, undefined, 2))
  const { exports, succeeded, objects, wrong, stray, uploadsLeft } = report
  process.exitCode = succeeded === exports && objects === exports && wrong + stray + uploadsLeft === 0 ? 0 : 1
} finally {
  await rm(folder, { recursive: true, force: true })
}
