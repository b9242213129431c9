import type { Source } from '../io/source.ts'
import { ExtentCollector, type ExtentRows, Kind } from './extents.ts'

/** Rows of one batch: a file may have as many holes as pages. */
const BATCH = 1024

/** Extents of a disk of `size` bytes that lies in its source as it is, from the first byte on; holes in a file are holes. */
export async function* flatExtents(source: Source, size: number, start = 0, end = size): AsyncGenerator<ExtentRows> {
  const extents = new ExtentCollector(start, end)
  let at = start
  for await (const [from, to] of source.dataRuns?.(start, end) ?? [[start, end] as const]) {
    extents.add(at, from - at, Kind.hole)
    extents.add(from, to - from, Kind.stored, from)
    at = to
    if (extents.count >= BATCH) yield extents.take()
  }
  extents.add(at, end - at, Kind.hole)
  yield extents.take()
}
