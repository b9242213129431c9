import { randomBytes } from 'node:crypto'
import { deflateRawSync } from 'node:zlib'
import { Bench } from 'tinybench'
import { combineCrc32c, crc32c, crc32cBackend } from '../src/bytes/crc32c.ts'
import { UnitMap } from '../src/bytes/unit-map.ts'
import { unpackExactly } from '../src/bytes/unpack.ts'
import { isZero } from '../src/bytes/zeros.ts'
import type { DiskImage, ExactLayout } from '../src/formats/format.ts'
import { qcow2 } from '../src/formats/qcow2/index.ts'
import { raw } from '../src/formats/raw/index.ts'
import { openImage } from '../src/formats/registry.ts'
import { memorySource, type Source } from '../src/io/source.ts'
import { fill } from '../src/pipeline/fill.ts'
import { fillPlans } from '../src/pipeline/plans.ts'
import { taskInput } from '../src/pipeline/stage.ts'
import type { FillTask } from '../src/pipeline/tasks.ts'

/* npm run bench:kernels: what the inner loops do, each on this thread and on warm memory. */

const KiB = 1024
const MiB = 1024 * KiB
const GiB = 1024 * MiB

const noise = randomBytes(MiB)
const zeros = Buffer.alloc(MiB)
/** Half of it compresses away, as in many a file. */
const cluster = Buffer.concat([randomBytes(32 * KiB), Buffer.alloc(32 * KiB)])
const packed = deflateRawSync(cluster)

const DISK = 64 * GiB
const walked = await openImage(tablesOnly(DISK), { from: 'qcow2' })
const fillTask = await makeFillTask()

/** Each with the bytes that one turn deals with; for the walk, guest bytes. */
const kernels: readonly { name: string; bytes?: number; run: () => unknown }[] = [
  { name: `CRC-32C of 1 MiB (${crc32cBackend})`, bytes: MiB, run: () => crc32c(noise) },
  { name: 'zero test of 1 MiB of zeros', bytes: MiB, run: () => isZero(zeros) },
  { name: 'zero test of 1 MiB of noise', run: () => isZero(noise) },
  { name: 'joining two CRC-32Cs', run: () => combineCrc32c(0x12345678, 0x9abcdef0, MiB) },
  { name: 'walk of the L2 tables of 64 GiB, every other cluster stored', bytes: DISK, run: () => walk(walked) },
  {
    name: 'inflating a cluster of 64 KiB',
    bytes: cluster.length,
    run: () => unpackExactly({ name: 'deflate-raw', unitSize: cluster.length }, packed, 0),
  },
  { name: 'filling 1 MiB from stored bytes, with its CRC-32C', bytes: MiB, run: () => fill(fillTask) },
]

const bench = new Bench({ time: process.argv.includes('--quick') ? 100 : 1000 })
for (const { name, run } of kernels) bench.add(name, run)
await bench.run()

for (const [index, { name, bytes }] of kernels.entries()) {
  const result = bench.tasks[index]?.result
  if (result === undefined || !('latency' in result)) throw new Error(`${name} did not end`)
  const { p50, p99 } = result.latency
  const rate = bytes === undefined ? '' : `, ${(bytes / 1e6 / p50).toFixed(2)} GB/s`
  console.log(`${name}: ${micro(p50)} (99 % under ${micro(p99)})${rate}`)
}

function micro(milliseconds: number): string {
  return `${(milliseconds * 1000).toFixed(milliseconds < 0.1 ? 2 : 0)} µs`
}

async function walk(image: DiskImage): Promise<number> {
  let rows = 0
  for await (const batch of image.extents()) rows += batch.length
  return rows
}

/** A qcow2 of which there are only the tables: what they refer to is never read. */
function tablesOnly(virtualSize: number): Source {
  const units = new UnitMap(virtualSize, 64 * KiB)
  for (let unit = 0; unit < units.length; unit += 2) units.add(unit)
  const { writer } = qcow2
  const options = Object.fromEntries(
    Object.entries(writer.options).map(([key, spec]) => [key, 'default' in spec ? spec.default : undefined]),
  )
  const layout = writer.plan({ virtualSize, units, seed: new Uint8Array(32) }, options as never) as ExactLayout
  const tables = new Map<number, Uint8Array>()
  for (const region of layout.regions()) if (region.kind === 'bytes') tables.set(region.offset, region.bytes())
  return {
    size: layout.size,
    read(offset, length) {
      for (const start of [offset, 0]) {
        const table = tables.get(start)
        if (table !== undefined && offset + length <= start + table.length)
          return table.subarray(offset - start, offset - start + length)
      }
      return new Uint8Array(length)
    },
  }
}

async function makeFillTask(): Promise<FillTask> {
  const image = await openImage(memorySource(noise), { from: 'raw' })
  const layout = raw.writer.plan(
    { virtualSize: MiB, units: new UnitMap(0, 1), seed: new Uint8Array(32) },
    {},
  ) as ExactLayout
  for await (const plan of fillPlans(image, layout, { chunkSize: MiB, sparse: false })) {
    const { runs, dataBytes: _, ...task } = plan
    const input = await taskInput(image.source, runs)
    return { ...task, input, codecs: [], output: { buffer: new SharedArrayBuffer(MiB) } }
  }
  throw new Error('nothing to fill')
}
