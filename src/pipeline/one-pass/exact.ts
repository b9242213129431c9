import { isZero } from '../../bytes/zeros.ts'
import type { ExactLayout } from '../../formats/format.ts'
import type { Sink, Summary } from '../../io/sink.ts'
import { violated } from '../plan/plans.ts'
import type { FillResult } from '../tasks/tasks.ts'
import { outputTo } from '../transfer/output.ts'
import type { DiskWindow } from './disk-windows.ts'
import type { OnePassSlot, WindowConsumer } from './one-pass.ts'

/**
 * Makes a target that is the disk front to back with something behind it: raw, fixed VHD. `layoutFor` is asked once the
 * disk's size is known, which may be at its end.
 */
export function exactConsumer(
  layoutFor: (virtualSize: number) => ExactLayout,
  sink: Sink,
  windowSize: number,
): WindowConsumer {
  const output = outputTo(sink)
  return {
    windowSize,
    begin: () => output.append(new Uint8Array(0)),
    async prepare(window: DiskWindow, slot: OnePassSlot, filled: Promise<FillResult>) {
      const { crc32c } = await filled
      return async () => {
        await output.zeros(window.guest - output.position)
        const bytes = Buffer.from(slot.plain, 0, window.length)
        await (isZero(bytes) ? output.zeros(bytes.length) : output.append(bytes, crc32c))
      }
    },
    async end(end: number): Promise<Summary> {
      const layout = layoutFor(end)
      for (const region of layout.regions()) {
        if (region.kind === 'guest' && region.guest !== region.offset) {
          throw violated('the disk', region.offset, region.guest)
        }
        if (region.kind === 'bytes') await output.append(region.bytes())
        else await output.zeros(region.offset + region.length - output.position)
      }
      await output.end(undefined)
      if (output.position !== layout.size) throw violated('the end', output.position, layout.size)
      return { size: output.position, crc32c: output.crc32c }
    },
  }
}
