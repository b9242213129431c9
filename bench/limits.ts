import { execFileSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as delay } from 'node:timers/promises'
import {
  type ConversionOptions,
  clientFromEnvironment,
  convert,
  convertToStream,
  createPool,
  s3Target,
} from 'diskferry'
import { floors } from './floors.ts'
import { type BenchImage, BenchImages, warm } from './images.ts'
import { type Measurement, type Program, runByTurns, runCommand, spreadOf } from './measure.ts'
import { diskferry } from './peers.ts'
import { saveReport } from './report.ts'
import { RESULTS } from './results.ts'
import { scratch } from './scratch.ts'
import { drainStore } from './stores.ts'

/*
 * npm run bench:limits: what does not show beside a peer. How cost grows with data, disk and threads; when the first
 * byte comes; what a host's event loop feels.
 */

const GiB = 2 ** 30
const ROUNDS = 3

process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= 'true'
const folder = await mkdtemp(join(scratch(14 * GiB), 'diskferry-limits-'))
process.env.TMPDIR = folder
try {
  const debian = await BenchImages.debian(folder).get('qcow2')
  warm(debian)
  const figures = {
    rounds: ROUNDS,
    floors: await floors(debian, folder),
    threads: await threadScaling(debian),
    data: await dataScaling(),
    disk: await diskScaling(debian),
    firstByte: await firstBytes(),
    eventLoop: await eventLoop(debian),
  }
  console.log(JSON.stringify(figures, null, 2))
  console.log(`bench/results/${await saveReport(RESULTS, '-limits', figures)}`)
} finally {
  await rm(folder, { recursive: true, force: true })
}

/** A job bound by compression, with one thread and with two. */
async function threadScaling({ file }: BenchImage) {
  const target = join(folder, 'threads.vmdk')
  const program = (threads: number): Program => ({
    name: `${threads}`,
    run: () => runCommand(diskferry(file, target, 'vmdk', ['--threads', `${threads}`])),
    cleanUp: () => rm(target, { force: true }),
  })
  const runs = await runByTurns([program(1), program(2)], ROUNDS)
  const [one = [], two = []] = runs.values()
  const speedup = spreadOf(one.map(({ seconds }, round) => seconds / (two[round]?.seconds ?? Number.NaN)))
  return { one: median(one), two: median(two), speedup }
}

/** Images whose tables are real and whose data are holes in the file: reading them costs a copy, as data would. */
async function dataScaling() {
  const rows = []
  for (const size of [1, 2, 4, 8, 16, 32]) {
    const file = await preallocated(`data-${size}`, size * GiB)
    const flags = ['--keep-zeros']
    rows.push({
      gibibytes: size,
      ...(await timed(['/bin/sh', '-c', `${diskferry(file, '-', 'qcow2', flags).join(' ')} > /dev/null`])),
    })
    await rm(file)
  }
  return rows
}

/** The same data on ever larger disks. */
async function diskScaling({ file }: BenchImage) {
  const rows = []
  for (const size of [8, 64, 512, 2048]) {
    const larger = join(folder, 'larger.qcow2')
    execFileSync('cp', [file, larger])
    execFileSync('qemu-img', ['resize', '-q', '-f', 'qcow2', larger, `${size}G`])
    const target = join(folder, 'larger-target.qcow2')
    rows.push({ gibibytes: size, ...(await timed(diskferry(larger, target, 'qcow2'), target)) })
    await rm(larger)
  }
  return rows
}

/** A disk of 1 TiB of which 100 GiB are allocated. */
async function firstBytes() {
  const file = await preallocated('first-byte', 100 * GiB)
  execFileSync('qemu-img', ['resize', '-q', '-f', 'qcow2', file, '1T'])
  const rows = []
  for (const options of [{ to: 'raw' }, { to: 'vhd', keepZeros: true }, { to: 'qcow2', keepZeros: true }] as const) {
    rows.push({ ...options, seconds: await untilFirstByte({ source: file, ...options }) })
  }
  return rows
}

async function untilFirstByte(options: ConversionOptions): Promise<number> {
  const started = performance.now()
  const { stream, result } = await convertToStream(options)
  await new Promise((resolve) => stream.once('readable', resolve))
  const seconds = (performance.now() - started) / 1000
  stream.destroy()
  await result.catch(() => undefined)
  return seconds
}

/** How late timers of the host are while an export runs at full speed; milliseconds. */
async function eventLoop({ file }: BenchImage) {
  const pool = createPool({})
  const target = join(folder, 'loop')
  const store = await drainStore()
  Object.assign(process.env, store.env)
  const client = await clientFromEnvironment()
  const uploaded = (key: string) => s3Target({ client, bucket: store.bucket, key })
  const jobs: Readonly<Record<string, () => Promise<unknown>>> = {
    idle: () => delay(1000),
    'qcow2 to VHD': () => convert({ source: file, to: 'vhd', target, pool }),
    'qcow2 to VMDK': () => convert({ source: file, to: 'vmdk', target, pool }),
    'qcow2 to VHD, as a stream': async () => {
      const { stream, result } = await convertToStream({ source: file, to: 'vhd', pool })
      stream.resume()
      await result
    },
    'qcow2 to VHD, into a store': () => convert({ source: file, to: 'vhd', target: uploaded('vhd'), pool }),
    'qcow2 to VMDK, into a store': () => convert({ source: file, to: 'vmdk', target: uploaded('vmdk'), pool }),
  }
  const rows = []
  for (const [job, run] of Object.entries(jobs)) {
    const histogram = monitorEventLoopDelay({ resolution: 1 })
    histogram.enable()
    await run()
    histogram.disable()
    const [p50, p99, max] = [histogram.percentile(50), histogram.percentile(99), histogram.max].map((ns) => ns / 1e6)
    rows.push({ job, p50, p99, max })
    await rm(target, { force: true })
  }
  client.destroy()
  await store.stop()
  await pool.close()
  return rows
}

async function preallocated(name: string, size: number): Promise<string> {
  const file = join(folder, name)
  execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', '-o', 'preallocation=metadata', file, String(size)])
  return file
}

async function timed(command: readonly string[], target?: string) {
  const cleanUp = async () => {
    if (target !== undefined) await rm(target, { force: true })
  }
  const runs = (await runByTurns([{ name: 'one', run: () => runCommand(command), cleanUp }], ROUNDS)).get('one') ?? []
  return {
    seconds: median(runs),
    cpuSeconds: spreadOf(runs.map(({ cpuSeconds }) => cpuSeconds)).median,
    peakBytes: spreadOf(runs.map(({ peakBytes }) => peakBytes)).median,
  }
}

function median(runs: readonly Measurement[]): number {
  return spreadOf(runs.map(({ seconds }) => seconds)).median
}
