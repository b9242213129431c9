import { readConfig } from './config.ts'
import { untilStopped } from './until-stopped.ts'
import { work } from './work.ts'

/** Runs a fleet's exports until SIGTERM or SIGINT, with a log on standard output. */
export async function runWorker(file: string | undefined, environment: NodeJS.ProcessEnv): Promise<void> {
  const config = await readConfig(file, environment)
  const { pino } = await import('pino')
  const log = pino({ level: config.logLevel })
  const worker = await work(config, log)
  const { address } = worker
  log.info({ concurrency: config.concurrency, ...(address !== undefined && { address }) }, 'taking jobs')
  await untilStopped(log, config)
  await worker.stop()
  log.info({}, 'stopped')
}
