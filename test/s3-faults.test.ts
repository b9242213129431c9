import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { convert, isDiskferryError, s3Target } from '../src/index.ts'
import { sha256 } from './support/convert.ts'
import { type Fault, httpProxy } from './support/http-proxy.ts'
import { noise } from './support/pattern.ts'
import { clientOf, testBucket } from './support/s3-bucket.ts'
import { tempFolder } from './support/temp-folder.ts'

const MiB = 2 ** 20
/** `FAULT_RUNS=300` for the long run, `SEED=n` for another one. */
const RUNS = Number(process.env.FAULT_RUNS ?? 4)
const SEED = Number(process.env.SEED ?? 1)

const path = tempFolder()
const bucket = testBucket()
const proxy = httpProxy(() => bucket.server.endpoint)
const disk = noise(3, 11 * MiB)
const KINDS = [
  { to: 'raw', options: {}, size: disk.length },
  { to: 'qcow2', options: { compression: 'zlib' }, size: 6 * MiB },
  { to: 'vmdk', options: {}, size: 6 * MiB },
  { to: 'raw', options: {}, size: MiB },
] as const

/** A byte says what happens to a request: mostly nothing. */
function faultOf(byte: number): Fault | undefined {
  const faults: Fault[] = [
    { kind: 'reset' },
    { kind: 'status', status: 500 },
    { kind: 'status', status: 503 },
    { kind: 'stall' },
    { kind: 'cut', after: 10 },
    { kind: 'lost' },
    { kind: 'lost' },
  ]
  return byte < 10 * faults.length ? faults[Math.floor(byte / 10)] : undefined
}

/** Parts fail more seldom than answers: Swift is slow. */
const retry = { stallTimeoutMs: 4000, requestTimeoutMs: 10_000 }

const counts = { whole: 0, failed: 0, faults: 0 }
const whole = new Map<number, string>()

beforeAll(async () => {
  for (const [index, { to, options, size }] of KINDS.entries()) {
    const source = disk.subarray(0, size)
    await convert({ source, from: 'raw', to, options, threads: 0, target: path('whole') } as never)
    whole.set(index, sha256(readFileSync(path('whole'))))
  }
})
afterAll(() =>
  console.log(`${RUNS} runs, ${counts.faults} faults: ${counts.whole} whole, ${counts.failed} failed and left nothing`),
)

it.each(Array.from({ length: RUNS }, (_, run) => run))(
  'run %i ends whole, or fails and leaves nothing',
  async (run) => {
    const kind = run % KINDS.length
    const { to, options, size } = KINDS[kind] as (typeof KINDS)[number]
    const key = `run-${run}`
    const random = noise(SEED * 10_000 + run, 4096)
    proxy.reset()
    proxy.fault = (_, index) => {
      const fault = faultOf(random[index] as number)
      if (fault !== undefined) counts.faults += 1
      return fault
    }
    const client = clientOf(bucket.server, { endpoint: proxy.endpoint, maxAttempts: 1 })
    const target = s3Target({ client, bucket: bucket.name, key, retry })
    const source = disk.subarray(0, size)
    const error = await convert({ source, from: 'raw', to, options, threads: 0, target } as never).then(
      () => undefined,
      (failure: unknown) => failure,
    )
    client.destroy()
    if (error === undefined) {
      counts.whole += 1
      expect(sha256(await bucket.get(key))).toBe(whole.get(kind))
    } else {
      counts.failed += 1
      expect(isDiskferryError(error), String(error)).toBe(true)
      expect(await bucket.keys()).not.toContain(key)
    }
    expect(await bucket.openUploads()).toEqual([])
  },
  300_000,
)

it('most runs end whole: five repetitions stand what two or three faults do', () => {
  expect(counts.whole).toBeGreaterThan(RUNS / 2)
})
