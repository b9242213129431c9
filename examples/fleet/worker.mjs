// node worker.mjs: runs exports, two at once; any number of these may run, on any machine. Killed, its exports are taken
// up by another; told to end, it has a minute to end them, and hands back the rest.
import { createPool } from 'diskferry'
import { exportRunner, openFleetQueue } from 'diskferry/service'
import { catalog, onceTold, onError, REDIS, targets } from './fleet.mjs'

const pool = createPool()
const run = exportRunner({ catalog, targets, pool })
const queue = await openFleetQueue({
  redis: REDIS,
  concurrency: 2,
  onError,
  run: async (job, context) => {
    console.log(`${job.id}: attempt ${context.attempt}`)
    const result = await run(job, context)
    console.log(`${job.id}: ${result.size} bytes at ${result.location}`)
    return result
  },
})
console.log('taking jobs')

onceTold(async () => {
  await queue.close({ graceMs: 60_000 })
  await pool.close()
})
