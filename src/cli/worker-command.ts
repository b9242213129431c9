import type { Command } from 'commander'

const NOTES = `
Takes the configuration of "diskferry serve", and needs its images, buckets and redis. Any number of workers may run, on
any number of machines. SIGTERM lets exports end, then stops; what is left is taken up by another worker.

With --listen it answers GET /health, /ready and /metrics, without a token: keep them from the public.

Examples:
  diskferry worker --config service.json --redis redis://queue:6379
  diskferry worker --config service.json --redis redis://queue:6379 --listen 127.0.0.1:9090`

export function addWorkerCommand(program: Command): void {
  program
    .command('worker')
    .summary('run exports of a fleet')
    .description('Runs exports that were handed to "diskferry serve --redis".')
    .option('-c, --config <file>', 'configuration (default: the environment alone)')
    .option('--redis <url>', 'Redis of the fleet, as redis://host:6379')
    .option('--listen <host:port>', 'where to answer health, readiness and metrics (default: nowhere)')
    .addHelpText('after', NOTES)
    .action(async ({ config, redis, listen }: { config?: string; redis?: string; listen?: string }) => {
      const { runWorker } = await import('../service/index.ts')
      await runWorker(config, {
        ...process.env,
        ...(redis !== undefined && { DISKFERRY_REDIS: redis }),
        ...(listen !== undefined && { DISKFERRY_WORKER_LISTEN: listen }),
      })
    })
}
