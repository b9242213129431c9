import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { runFleet } from './support/fleet.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fleet-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

it('a fleet whose workers are killed, and whose Redis is restarted, makes every object once and whole', async () => {
  const report = await runFleet({ folder, exports: 24, workers: 3, killEveryMs: 1500, mostKills: 5 })
  console.info(JSON.stringify(report))
  expect(report).toMatchObject({ exports: 24, succeeded: 24, failed: 0, objects: 24 })
  expect(report).toMatchObject({ wrong: 0, stray: 0, uploadsLeft: 0, redisRestarts: 1 })
  expect(report.kills).toBeGreaterThanOrEqual(2)
  expect(report.takenOver).toBeGreaterThanOrEqual(1)
}, 300_000)
