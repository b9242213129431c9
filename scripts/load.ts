import { createHash, randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Redis } from 'ioredis'
import { drainStore, swiftStore } from '../bench/stores.ts'
import { type Config, configSchema, serve } from '../src/service/index.ts'
import { goodImage } from '../test/support/export-cases.ts'
import { startRedis } from '../test/support/redis-server.ts'

/*
 * npm run load: how many requests a second one process of the service answers, and how long they take; with the
 * in-process queue and with Redis, while it runs exports, and with Redis as the front of a fleet, which runs none. Prints
 * JSON. Clients and server share one process, so the service alone does better. Options: --seconds N (of each measurement,
 * default 5), --clients N (default 16), --store drain (the default: answers at once, and keeps nothing, which leaves the
 * service's own share) or swift (a real store, in one Python process).
 */

const { values: options } = parseArgs({
  options: {
    seconds: { type: 'string', default: '5' },
    clients: { type: 'string', default: '16' },
    store: { type: 'string', default: 'drain' },
  },
})
const SECONDS = Number(options.seconds)
const CLIENTS = Number(options.clients)
const TOKEN = randomBytes(16).toString('hex')
/** Each takes a part of an upload, so that exports run as long as we measure. */
const DISK_MIB = 8
const IMAGES = 5000
/** The first image that nobody has exported yet. */
let next = 0

const quiet = { info: () => undefined, warn: () => undefined, error: console.error }
const folder = await mkdtemp(join(tmpdir(), 'load-'))
const [redis, store] = await Promise.all([startRedis(), options.store === 'swift' ? swiftStore() : drainStore()])
Object.assign(process.env, store.env)
try {
  await prepare()
  const inProcess = await measure('local', await configOf({}))
  const onRedis = await measure('redis', await configOf({ redis: redis.url }))
  const front = await measure('front', await configOf({ redis: redis.url, concurrency: 0 }))
  const cpu = cpus()[0]?.model ?? 'unknown'
  const conditions = {
    store: store.name,
    cpu,
    cores: cpus().length,
    node: process.version,
    clients: CLIENTS,
    seconds: SECONDS,
  }
  console.log(
    JSON.stringify({ conditions, inProcess, onRedis, front, bytesPerJobInRedis: await memoryPerJob() }, undefined, 2),
  )
} finally {
  await Promise.all([redis.stop(), store.stop()])
  await rm(folder, { recursive: true, force: true })
}

async function prepare(): Promise<void> {
  await mkdir(join(folder, 'images'))
  await writeFile(join(folder, 'images', 'disk.raw'), randomBytes(DISK_MIB * 2 ** 20))
  await truncate(join(folder, 'images', 'disk.raw'), 64 * 2 ** 20)
  for (let i = 0; i < IMAGES; i++) {
    const record = { ...goodImage, id: `image-${i}`, name: `image ${i}`, file: 'disk.raw', format: 'raw' }
    await writeFile(join(folder, 'images', `image-${i}.json`), JSON.stringify(record))
  }
  const sha256 = createHash('sha256').update(TOKEN).digest('hex')
  await writeFile(join(folder, 'tokens'), JSON.stringify([{ sha256, project: 'p1', roles: ['te_admin'] }]))
}

async function configOf(more: Partial<Config>): Promise<Config> {
  return configSchema.parse({
    port: 0,
    images: join(folder, 'images'),
    tokens: join(folder, 'tokens'),
    journal: join(folder, 'journal'),
    mostUnfinished: 100_000,
    concurrency: 2,
    threads: 1,
    graceSeconds: 0,
    limits: { requestsPerSecond: 1_000_000, burst: 1_000_000 },
    ...more,
  })
}

interface Figures {
  readonly requestsPerSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly requests: number
  readonly failed: number
}

async function measure(name: string, config: Config) {
  const service = await serve(config, quiet)
  const submit = () => {
    const image = next++
    return request(service.address, `/v1/cloudimages/image-${image}/file`, {
      method: 'POST',
      body: JSON.stringify({ bucket_url: `${store.bucket}:${name}-${image}.vhd`, file_format: 'vhd' }),
    })
  }
  try {
    const first = (await (await submit()).json()) as { job_id: string }
    for (let i = 0; i < 20; i++) await submit()
    const query = () => request(service.address, `/v1/cloudimages/job/${first.job_id}`)
    const queries = await hammer(query)
    const submissions = await hammer(submit)
    return { queries, submissions }
  } finally {
    await service.stop()
  }
}

function request(address: string, path: string, init: RequestInit = {}): Promise<Response> {
  return fetch(`${address}${path}`, { ...init, headers: { 'X-Auth-Token': TOKEN } })
}

/** As many clients, each asking again when it has its answer. */
async function hammer(ask: () => Promise<Response>): Promise<Figures> {
  const times: number[] = []
  let failed = 0
  const begun = performance.now()
  const one = async () => {
    while (performance.now() - begun < SECONDS * 1000) {
      const asked = performance.now()
      const response = await ask()
      await response.text()
      times.push(performance.now() - asked)
      if (!response.ok) failed += 1
    }
  }
  await Promise.all(Array.from({ length: CLIENTS }, one))
  const took = (performance.now() - begun) / 1000
  times.sort((a, b) => a - b)
  const at = (share: number) => Math.round((times[Math.floor(times.length * share)] ?? 0) * 10) / 10
  const requestsPerSecond = Math.round(times.length / took)
  return { requestsPerSecond, p50Ms: at(0.5), p99Ms: at(0.99), requests: times.length, failed }
}

/** What Redis uses for each job that it remembers, those of BullMQ included, by the memory that it says it has. */
async function memoryPerJob(): Promise<number> {
  const client = new Redis(redis.url)
  const used = async () => Number(/used_memory:(\d+)/.exec(await client.info('memory'))?.[1])
  const jobs = await client.keys('{diskferry}:job:*')
  const before = await used()
  await client.flushall()
  const after = await used()
  client.disconnect()
  return Math.round((before - after) / jobs.length)
}
