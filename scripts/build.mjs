/**
 * Builds `dist`: declarations by tsc, programs by esbuild. Bundled into few files, since Node takes longer to find a
 * hundred small modules than to run a small conversion, and each worker thread does it again. Dependencies stay outside.
 */
import { execFileSync } from 'node:child_process'
import { chmodSync, rmSync } from 'node:fs'
import { build } from 'esbuild'

rmSync('dist', { recursive: true, force: true })
await build({
  entryPoints: [
    'src/index.ts',
    'src/s3.ts',
    'src/pipeline/worker.ts',
    'src/rules/index.ts',
    'src/service/index.ts',
    'src/cli/main.ts',
  ],
  outdir: 'dist',
  outbase: 'src',
  bundle: true,
  splitting: true,
  packages: 'external',
  platform: 'node',
  format: 'esm',
  target: 'node20',
  logLevel: 'warning',
})
chmodSync('dist/cli/main.js', 0o755)
execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json'], { stdio: 'inherit' })
