import { crc32c } from '../../bytes/crc32c.ts'
import { pack as packUnit } from '../../bytes/pack.ts'
import { PLACED_WIDTH } from '../../formats/format.ts'
import { frames } from '../../formats/frames.ts'
import { runOps } from './fill.ts'
import { hostReader } from './host-reader.ts'
import type { PackResult, PackTask } from './tasks.ts'

/** Memory of this thread for units that are about to be packed. */
let scratch = Buffer.alloc(0)

/** Reads units, packs each on its own, and puts them one behind the other with their frames. */
export function pack(task: PackTask): PackResult {
  const { units, unitSize, packing } = task
  const size = units.length * unitSize
  if (scratch.length < size) scratch = Buffer.allocUnsafeSlow(size)
  runOps(task, hostReader(task.input), scratch)
  const into = Buffer.from(task.buffer)
  const placed = new Float64Array(units.length * PLACED_WIDTH)
  let at = 0
  units.forEach((unit, i) => {
    const payload = packUnit(scratch.subarray(i * unitSize, (i + 1) * unitSize), packing)
    const length = frames[packing.frame].write(into, at, payload, unit, unit === packing.firstUnit)
    placed.set([unit, at, length], i * PLACED_WIDTH)
    at += length
  })
  return { placed, length: at, crc32c: crc32c(into.subarray(0, at)) }
}
