import { once } from 'node:events'
import type { Log } from '../log.ts'
import type { Config } from './config.ts'

/** Waits for SIGTERM or SIGINT. A second signal ends the process at once. */
export async function untilStopped(log: Log, { graceSeconds }: Config): Promise<void> {
  const signal = await Promise.race(['SIGTERM', 'SIGINT'].map(async (name) => (await once(process, name)) && name))
  log.info({ signal, graceSeconds }, 'draining')
  for (const name of ['SIGTERM', 'SIGINT']) process.once(name, () => process.exit(130))
}
