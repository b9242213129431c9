import { readConfig } from './config.ts'
import { serve } from './serve.ts'
import { untilStopped } from './until-stopped.ts'

/** Serves until SIGTERM or SIGINT, with a log on standard output. */
export async function runService(file: string | undefined, environment: NodeJS.ProcessEnv): Promise<void> {
  const config = await readConfig(file, environment)
  const { pino } = await import('pino')
  const log = pino({ level: config.logLevel })
  const service = await serve(config, log)
  log.info({ address: service.address }, 'listening')
  await untilStopped(log, config)
  await service.stop()
  log.info({}, 'stopped')
}
