// A function with 512 MiB, as on AWS Lambda: `{ source, bucket, key }` comes in, and a VHD lands in the bucket. Memory is
// bounded by diskferry's buffers, so the size of the disk does not matter; time does: give it enough.
import { convert, createPool } from 'diskferry'
import { clientFromEnvironment, s3Target } from 'diskferry/s3'

// Outside of the handler: kept from one call to the next.
const client = await clientFromEnvironment()
const pool = createPool({ threads: 2 })
/** Stop before the platform does, so that nothing half-uploaded is left. */
const MARGIN_MS = 10_000

export async function handler({ source, bucket, key }, context) {
  const signal = AbortSignal.timeout(Math.max(1, context.getRemainingTimeInMillis() - MARGIN_MS))
  const target = s3Target({ client, bucket, key })
  const { bytesWritten, crc32c, warnings } = await convert({ source, to: 'vhd', target, pool, signal })
  return { bytesWritten, crc32c, warnings }
}
