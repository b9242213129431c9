/**
 * Builds `dist`: declarations by tsc, programs by esbuild. Bundled into few files, since Node takes longer to find a
 * hundred small modules than to run a small conversion, and each worker thread does it again. Dependencies stay outside.
 */
import { execFileSync } from 'node:child_process'
import { chmodSync, rmSync } from 'node:fs'
import { build } from 'esbuild'

rmSync('dist', { recursive: true, force: true })
const common = {
  outdir: 'dist',
  outbase: 'src',
  bundle: true,
  splitting: true,
  packages: 'external',
  platform: 'node',
  format: 'esm',
  target: 'node20',
  logLevel: 'warning',
}
await build({
  ...common,
  entryPoints: [
    'src/index.ts',
    'src/s3.ts',
    'src/rules/index.ts',
    'src/service/index.ts',
    'src/cli/main.ts',
    'src/cli/run.ts',
  ],
})
// On its own: what it shares with the programs would be cut into more files than the threads need.
await build({ ...common, entryPoints: ['src/pipeline/worker.ts'], chunkNames: 'pipeline/[name]-[hash]' })
chmodSync('dist/cli/main.js', 0o755)
execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json'], { stdio: 'inherit' })
