import type { Command } from 'commander'

const NOTES = `
The configuration is a JSON file; each of its fields may also come from the environment, as DISKFERRY_PORT or
DISKFERRY_GRACE_SECONDS. S3 comes from the usual AWS environment. SIGTERM lets exports end, then stops.

Examples:
  diskferry serve --config service.json
  DISKFERRY_PORT=8081 diskferry serve
  diskferry serve --config service.json --redis redis://queue:6379`

export function addServeCommand(program: Command): void {
  program
    .command('serve')
    .summary('serve the export API')
    .description('Serves the export API over HTTP, and runs its exports.')
    .option('-c, --config <file>', 'configuration (default: the environment alone)')
    .option('--redis <url>', 'Redis of a fleet, as redis://host:6379, whose workers run exports too')
    .addHelpText('after', NOTES)
    .action(async ({ config, redis }: { config?: string; redis?: string }) => {
      // Who converts one image needs no web framework.
      const { runService } = await import('../service/index.ts')
      await runService(config, redis === undefined ? process.env : { ...process.env, DISKFERRY_REDIS: redis })
    })
}
