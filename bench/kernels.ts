import { randomBytes } from 'node:crypto'
import { deflateRawSync } from 'node:zlib'
import { Bench } from 'tinybench'
import { combineCrc32c, crc32c, crc32cBackend } from '../src/bytes/crc32c.ts'
import { pack } from '../src/bytes/pack.ts'
import { UnitMap } from '../src/bytes/unit-map.ts'
import { unpackExactly } from '../src/bytes/unpack.ts'
import { isZero } from '../src/bytes/zeros.ts'
import type { DiskImage, ExactLayout, ImageWriter } from '../src/formats/format.ts'
import { type OptionTable, readOptions } from '../src/formats/options.ts'
import { qcow2 } from '../src/formats/qcow2/index.ts'
import { raw } from '../src/formats/raw/index.ts'
import { openImage } from '../src/formats/registry.ts'
import { vhd } from '../src/formats/vhd/index.ts'
import { memorySource, type Source } from '../src/io/source.ts'
import { fillPlans } from '../src/pipeline/plan/plans.ts'
import { withInput } from '../src/pipeline/plan/stage.ts'
import { createPool } from '../src/pipeline/pool.ts'
import { fill } from '../src/pipeline/tasks/fill.ts'
import type { FillTask } from '../src/pipeline/tasks/tasks.ts'

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
const layouts = { qcow2: everyOther(qcow2.writer, 64 * KiB), vhd: everyOther(vhd.writer, 2 * MiB) }
const qcow2Tables = tablesOnly(layouts.qcow2)
const walked = await openImage(qcow2Tables, { from: 'qcow2' })
const walkedVhd = await openImage(tablesOnly(layouts.vhd), { from: 'vhd' })
const fillTask = await makeFillTask()

/** Each with the bytes that one turn deals with; for the walk, guest bytes. */
const kernels: readonly { name: string; bytes?: number; run: () => unknown }[] = [
  { name: `CRC-32C of 1 MiB (${crc32cBackend})`, bytes: MiB, run: () => crc32c(noise) },
  { name: 'zero test of 1 MiB of zeros', bytes: MiB, run: () => isZero(zeros) },
  { name: 'zero test of 1 MiB of noise', run: () => isZero(noise) },
  { name: 'joining two CRC-32Cs', run: () => combineCrc32c(0x12345678, 0x9abcdef0, MiB) },
  { name: 'probing a qcow2 and reading its header', run: () => openImage(qcow2Tables) },
  { name: 'walk of the L2 tables of 64 GiB, every other cluster stored', bytes: DISK, run: () => walk(walked) },
  { name: 'walk of the BAT of 64 GiB, every other block stored', bytes: DISK, run: () => walk(walkedVhd) },
  { name: 'encoding the tables of a qcow2 of 64 GiB', bytes: DISK, run: () => encode(layouts.qcow2) },
  { name: 'encoding the tables of a VHD of 64 GiB', bytes: DISK, run: () => encode(layouts.vhd) },
  ...([1, 6] as const).map((level) => ({
    name: `deflating a cluster of 64 KiB, level ${level}`,
    bytes: cluster.length,
    run: () => pack(cluster, { codec: 'deflate-raw', level }),
  })),
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

/** A disk of which every other unit is stored. */
function everyOther<T extends OptionTable>(writer: ImageWriter<T>, unitSize: number): ExactLayout {
  const units = new UnitMap(DISK, unitSize)
  for (let unit = 0; unit < units.length; unit += 2) units.add(unit)
  const options = readOptions(writer.options, {}, 'kernels')
  return writer.plan({ virtualSize: DISK, units, seed: new Uint8Array(32) }, options) as ExactLayout
}

/** Makes every table. */
function encode(layout: ExactLayout): number {
  let length = 0
  for (const region of layout.regions()) if (region.kind === 'bytes') length += region.bytes().length
  return length
}

/** An image of which there are only the tables: what they refer to is never read. */
function tablesOnly(layout: ExactLayout): Source {
  const starts: number[] = []
  const tables: Uint8Array[] = []
  for (const region of layout.regions()) {
    if (region.kind !== 'bytes') continue
    starts.push(region.offset)
    tables.push(region.bytes())
  }
  const lastBefore = (offset: number) => {
    const after = starts.findIndex((start) => start > offset)
    return (after === -1 ? starts.length : after) - 1
  }
  return {
    size: layout.size,
    read(offset, length) {
      const bytes = new Uint8Array(length)
      for (let index = lastBefore(offset); index < starts.length; index++) {
        const at = (starts[index] as number) - offset
        if (at >= length) break
        const table = (tables[index] as Uint8Array).subarray(Math.max(0, -at), Math.max(0, length - at))
        bytes.set(table, Math.max(0, at))
      }
      return bytes
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
    const input = await withInput({ image, pool: createPool({ threads: 0 }) }, runs, async (staged) => staged)
    return { ...task, input, codecs: [], output: { buffer: new SharedArrayBuffer(MiB) } }
  }
  throw new Error('nothing to fill')
}
