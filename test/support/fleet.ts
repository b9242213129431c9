import { type ChildProcess, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  CreateBucketCommand,
  GetObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
} from '@aws-sdk/client-s3'
import { goodImage } from './export-cases.ts'
import { qemuIo } from './qemu.ts'
import { startRedis } from './redis-server.ts'
import { root } from './run-node.ts'
import { clientOf } from './s3-bucket.ts'
import { type S3Server, startSwift } from './s3-server.ts'
import { runTool } from './tools.ts'

export interface FleetPlan {
  /** An empty folder. */
  readonly folder: string
  readonly exports: number
  readonly workers: number
  /** Pause between two workers' deaths. */
  readonly killEveryMs: number
  /** No more than so many. */
  readonly mostKills: number
  readonly say?: (text: string) => void
}

export interface FleetReport {
  readonly exports: number
  readonly succeeded: number
  readonly failed: number
  /** Attempts at all exports together. */
  readonly attempts: number
  /** Exports that another worker took over. */
  readonly takenOver: number
  readonly kills: number
  readonly redisRestarts: number
  readonly objects: number
  /** Objects that are missing, are not what QEMU reads the image as, or differ from another export of the same. */
  readonly wrong: number
  /** Objects that nobody asked for. */
  readonly stray: number
  readonly uploadsLeft: number
  /** Why exports failed. */
  readonly reasons: readonly string[]
  readonly seconds: number
}

const BUCKET = 'exports'
const TOKEN = randomBytes(16).toString('hex')
const FORMATS = [['qcow2', 'qcow2'], ['vhd', 'vpc'], ['vmdk', 'vmdk']] as const // biome-ignore format: a table
/** What each source holds, MiB: the first makes two parts of an upload, so that a worker dies with one of them sent. */
const SOURCES = [7, 1, 1, 1]

/** Long enough for a machine that has more to do. */
const LOCK_SECONDS = 5

interface Wanted {
  readonly image: string
  readonly key: string
  readonly format: (typeof FORMATS)[number]
  readonly source: string
}

/** A front and workers as they are installed, on a Redis and an S3 server of their own, while workers die and Redis goes. */
export async function runFleet(plan: FleetPlan): Promise<FleetReport> {
  const begun = performance.now()
  const [redis, s3] = await Promise.all([startRedis(), startSwift()])
  const client = clientOf(s3)
  const machines: Machine[] = []
  try {
    await client.send(new CreateBucketCommand({ Bucket: BUCKET }))
    const wanted = await makeImages(plan)
    const config = await writeConfig(plan.folder)
    const start = (command: 'serve' | 'worker') => new Machine(command, config, redis.url, s3)
    const front = start('serve')
    machines.push(front)
    for (let i = 0; i < plan.workers; i++) machines.push(start('worker'))
    const address = await front.address
    for (const each of wanted) await submit(address, each)
    const chaos = { kills: 0, redisRestarts: 0 }
    let jobs = await jobsOf(address)
    while (jobs.some(({ end_time }) => end_time === '')) {
      await sleep(plan.killEveryMs)
      const victim = machines.findIndex(({ busy }) => busy)
      if (victim > 0 && chaos.kills < plan.mostKills) {
        await machines[victim]?.kill()
        // The next one to die is another one.
        machines.splice(victim, 1)
        machines.push(start('worker'))
        chaos.kills += 1
      }
      if (chaos.kills === 2 && chaos.redisRestarts === 0) {
        await redis.restart({ downMs: 500 })
        chaos.redisRestarts += 1
      }
      jobs = await jobsOf(address)
      const ended = jobs.filter(({ end_time }) => end_time !== '').length
      plan.say?.(`${ended} of ${wanted.length} ended, ${chaos.kills} workers killed`)
    }
    const attempts = await attemptsOf(redis.url, jobs)
    const found = await examine(plan.folder, client, wanted)
    return {
      exports: wanted.length,
      succeeded: jobs.filter(({ status }) => status === 'SUCCESS').length,
      failed: jobs.filter(({ status }) => status === 'FAIL').length,
      attempts: attempts.reduce((sum, count) => sum + count, 0),
      takenOver: attempts.filter((count) => count > 1).length,
      ...chaos,
      ...found,
      reasons: jobs.flatMap(({ fail_reason }) => fail_reason ?? []),
      seconds: Math.round((performance.now() - begun) / 1000),
    }
  } finally {
    for (const machine of machines) await machine.kill()
    client.destroy()
    await Promise.all([redis.stop(), s3.stop()])
  }
}

/** A process of the fleet. */
class Machine {
  readonly address: Promise<string>
  readonly #child: ChildProcess
  #exports = 0

  constructor(command: 'serve' | 'worker', config: string, redis: string, s3: S3Server) {
    this.#child = spawn(process.execPath, ['dist/cli/main.js', command, '--config', config, '--redis', redis], {
      cwd: root,
      env: {
        PATH: process.env.PATH,
        AWS_ENDPOINT_URL_S3: s3.endpoint,
        AWS_ACCESS_KEY_ID: s3.credentials.accessKeyId,
        AWS_SECRET_ACCESS_KEY: s3.credentials.secretAccessKey,
        DISKFERRY_CONCURRENCY: command === 'serve' ? '0' : '1',
      },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    this.address = new Promise((resolve, reject) => {
      this.#child.once('exit', (code) => reject(new Error(`diskferry ${command} ended with ${code}`)))
      createInterface({ input: this.#child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
        const { msg, address } = JSON.parse(line) as { msg: string; address?: string }
        if (msg === 'listening') resolve(address as string)
        if (msg === 'export begun') this.#exports += 1
        if (msg === 'export done' || msg === 'export not done') this.#exports -= 1
      })
    })
    this.address.catch(() => undefined)
  }

  get busy(): boolean {
    return this.#exports > 0
  }

  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const gone = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await gone
  }
}

async function makeImages({ folder, exports }: FleetPlan): Promise<Wanted[]> {
  for (const [i, mib] of SOURCES.entries()) {
    const path = join(folder, `source-${i}.raw`)
    await writeFile(path, '')
    await runTool('truncate', ['--size', '64M', path])
    await writeFile(join(folder, 'noise'), randomBytes(mib * 2 ** 20))
    await qemuIo(path, 'raw', [`write -s ${join(folder, 'noise')} ${i + 1}M ${mib}M`])
  }
  const wanted = Array.from({ length: exports }, (_, i): Wanted => {
    const format = FORMATS[i % FORMATS.length] as Wanted['format']
    return { image: `image-${i}`, key: `export-${i}.img`, format, source: `source-${i % SOURCES.length}.raw` }
  })
  for (const { image, source } of wanted) {
    const record = { ...goodImage, id: image, name: image, file: source, format: 'raw' }
    await writeFile(join(folder, `${image}.json`), JSON.stringify(record))
  }
  return wanted
}

async function writeConfig(folder: string): Promise<string> {
  const sha256 = createHash('sha256').update(TOKEN).digest('hex')
  const tokens = join(folder, 'tokens')
  await writeFile(tokens, JSON.stringify([{ sha256, project: 'p1', roles: ['te_admin'] }]))
  const path = join(folder, 'config')
  const limits = { requestsPerSecond: 1000, burst: 1000 }
  await writeFile(
    path,
    JSON.stringify({ port: 0, images: '.', tokens: 'tokens', lockSeconds: LOCK_SECONDS, threads: 1, limits }),
  )
  return path
}

/** As a client should: with a key, so that it may ask again. */
async function submit(address: string, { image, key, format }: Wanted): Promise<void> {
  const body = JSON.stringify({ bucket_url: `${BUCKET}:${key}`, file_format: format[0] })
  await answer(`${address}/v1/cloudimages/${image}/file`, {
    method: 'POST',
    body,
    headers: { 'Idempotency-Key': image, 'Content-Type': 'application/json' },
  })
}

interface JobView {
  readonly job_id: string
  readonly status: string
  readonly end_time: string
  readonly fail_reason: string | null
}

async function jobsOf(address: string): Promise<readonly JobView[]> {
  return ((await answer(`${address}/v1/p1/jobs?limit=1000`)) as { jobs: JobView[] }).jobs
}

async function answer(url: string, init: RequestInit = {}): Promise<unknown> {
  for (let attempt = 1; ; attempt++) {
    const response = await fetch(url, { ...init, headers: { ...init.headers, 'X-Auth-Token': TOKEN } })
    const text = await response.text()
    if (response.ok) return JSON.parse(text)
    if (response.status !== 503 || attempt === 60) throw new Error(`${url}: ${response.status} ${text}`)
    await sleep(500)
  }
}

/** The API does not tell: the queue does. */
async function attemptsOf(redis: string, jobs: readonly JobView[]): Promise<number[]> {
  const { openFleetQueue } = await import('../../src/service/fleet/fleet-queue.ts')
  const queue = await openFleetQueue({ redis })
  const records = await Promise.all(jobs.map(({ job_id }) => queue.find(job_id)))
  await queue.close()
  return records.map((record) => record?.attempts ?? 0)
}

async function examine(folder: string, client: ReturnType<typeof clientOf>, wanted: readonly Wanted[]) {
  const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket: BUCKET }))
  const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket: BUCKET }))
  const keys = new Set(Contents.map(({ Key }) => Key))
  const known = new Map<string, string>()
  let wrong = 0
  for (const each of wanted) if (!(keys.has(each.key) && (await isRight(each)))) wrong += 1
  const asked = new Set(wanted.map(({ key }) => key))
  const stray = [...keys].filter((key) => !asked.has(key ?? '')).length
  return { objects: keys.size, wrong, stray, uploadsLeft: Uploads.length }

  /** QEMU compares the first of its kind with the source; all others of its kind have the same bytes. */
  async function isRight({ key, format: [name, driver], source }: Wanted): Promise<boolean> {
    const { Body } = await client.send(new GetObjectCommand({ Bucket: BUCKET, Key: key }))
    const bytes = (await Body?.transformToByteArray()) ?? new Uint8Array()
    const digest = createHash('sha256').update(bytes).digest('hex')
    const first = known.get(`${name} ${source}`)
    if (first !== undefined) return first === digest
    known.set(`${name} ${source}`, digest)
    const path = join(folder, 'object')
    await writeFile(path, bytes)
    return runTool('qemu-img', ['compare', '-f', 'raw', '-F', driver, join(folder, source), path]).then(
      () => true,
      () => false,
    )
  }
}
