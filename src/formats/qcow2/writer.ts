import type { ImageWriter } from '../format.ts'
import { assertWritable, options } from './options.ts'
import { planExact } from './plan.ts'
import { planPacked } from './plan-packed.ts'

/** Plans qcow2, uncompressed and compressed. */
export const writer: ImageWriter<typeof options> = {
  options,
  unitSize(virtualSize, options) {
    assertWritable(virtualSize, options)
    return options.cluster_size
  },
  plan: (input, options) =>
    options.compression === 'none' ? planExact(input, options) : planPacked(input, options, options.compression),
}
