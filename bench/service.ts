import { createInterface } from 'node:readline'
import { type ConvertOptions, clientFromEnvironment, convert, createPool, s3Source, s3Target } from 'diskferry'
import type { Measurement } from './measure.ts'

/*
 * A process that has started long ago and converts what it is asked to, as a service does: a line of JSON on standard
 * input is a job, a line on standard output what it took. Ends when its input does.
 */

export interface ServiceJob extends Pick<ConvertOptions, 'from' | 'to' | 'options'> {
  readonly source: string | ServiceObject
  readonly target: string | ServiceObject
}

/** In the store that the environment names. */
interface ServiceObject {
  readonly bucket: string
  readonly key: string
}

const pool = createPool()
const client = await clientFromEnvironment()

for await (const line of createInterface(process.stdin)) {
  console.log(JSON.stringify(await measure(JSON.parse(line) as ServiceJob)))
}
client.destroy()
await pool.close()

async function measure({ source, target, ...job }: ServiceJob): Promise<Measurement> {
  const started = performance.now()
  const cpu = process.cpuUsage()
  const where = typeof target === 'string' ? target : s3Target({ client, ...target })
  const opened = typeof source === 'string' ? undefined : await s3Source({ client, ...source })
  await convert({ ...job, source: opened ?? source, target: where, pool } as ConvertOptions)
  await opened?.close?.()
  const { user, system } = process.cpuUsage(cpu)
  return {
    seconds: (performance.now() - started) / 1000,
    cpuSeconds: (user + system) / 1e6,
    peakBytes: process.resourceUsage().maxRSS * 1024,
  }
}
