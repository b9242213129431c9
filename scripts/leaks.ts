/**
 * Converts over and over in one process, and looks at what is left: npm run leaks -- --conversions 500 --huge 200
 * Files, streams and objects; conversions that go well, fail, are aborted and given up. Ends with 1 when descriptors,
 * sockets, threads or listeners are more than in the beginning, or memory has grown. Needs the built library.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'
import {
  convertHuge,
  type Holdings,
  holdings,
  type LeakBench,
  leakJobs,
  makeImages,
} from '../test/support/leak-jobs.ts'
import { retainedBytes } from '../test/support/memory.ts'
import { startSwift } from '../test/support/s3-server.ts'

const { values } = parseArgs({
  options: { conversions: { type: 'string', default: '500' }, huge: { type: 'string', default: '200' } },
})
/** Rounds over all kinds of conversions before the first look: what is loaded late, and what warms up, is there then. */
const WARM_UP = 3
const LOOKS = 5
/** What may stay of each conversion: less than any buffer, handle or table. */
const MOST_KEPT_OF_EACH = 4096
const MOST_KEPT = 2 * 2 ** 20

process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= 'true'
const folder = mkdtempSync(join(tmpdir(), 'diskferry-leaks-'))
const server = await startSwift({ release: '2.35' })
const { endpoint, region, credentials } = server
const client = new S3Client({ endpoint, region, credentials, forcePathStyle: true })
let outcome: string[] = []
try {
  const library = (await import(new URL('../dist/index.js', import.meta.url).href)) as LeakBench['library']
  await client.send(new CreateBucketCommand({ Bucket: 'exports' }))
  await makeImages(folder)
  const pool = library.createPool({ threads: 2 })
  const bench = { library, folder, client, bucket: 'exports', signal: new AbortController().signal, pool }
  outcome = await watch(bench)
  await pool.close()
} finally {
  client.destroy()
  await server.stop()
  rmSync(folder, { recursive: true })
}
for (const line of outcome) console.error(line)
process.exitCode = outcome.length === 0 ? 0 : 1

async function watch(bench: LeakBench): Promise<string[]> {
  const jobs = Object.values(leakJobs)
  for (let round = 0; round < WARM_UP; round++) for (const job of jobs) await job(bench)
  const first = await look('after warming up', bench)
  // Whole rounds between looks: what the last conversion of a kind still holds is then held at every look.
  const rounds = Math.ceil(Number(values.conversions) / LOOKS / jobs.length)
  let last = first
  for (let looks = 1; looks <= LOOKS; looks++) {
    for (let round = 0; round < rounds; round++) for (const job of jobs) await job(bench)
    last = await look(`after ${looks * rounds * jobs.length} conversions`, bench)
  }
  const grown = growthOf(first, last, LOOKS * rounds * jobs.length)
  await convertHuge(bench, Number(values.huge))
  const end = await look(`after ${values.huge} GiB, twice`, bench)
  return [...grown, ...growthOf(last, end, 2)]
}

async function look(when: string, bench: LeakBench): Promise<Holdings> {
  const found = await holdings(bench, retainedBytes)
  const { descriptors, sockets, threads, listeners, memory, resident, partials } = found
  const size = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`
  console.log(
    `${when.padEnd(24)} descriptors ${descriptors}, sockets ${sockets}, threads ${threads}, listeners ${listeners}, ` +
      `memory ${size(memory)} (resident ${size(resident)}), partial files ${partials}`,
  )
  return found
}

/** What is more than it was, as sentences. Connections that a client keeps open are few, and reused. */
function growthOf(before: Holdings, after: Holdings, conversions: number): string[] {
  const counted = (['descriptors', 'sockets', 'threads', 'listeners', 'partials'] as const)
    .filter((what) => after[what] > before[what])
    .map((what) => `${what}: ${before[what]} became ${after[what]}`)
  const grown = after.memory - before.memory
  const most = MOST_KEPT + conversions * MOST_KEPT_OF_EACH
  return grown > most ? [...counted, `memory: grew by ${grown} bytes, at most ${most} are allowed`] : counted
}
