import { execFileSync } from 'node:child_process'

/** Tests run the sources, but worker threads load JavaScript: build it once, so that both are the same code. */
export default function setup(): void {
  execFileSync(process.execPath, ['scripts/build.mjs'], { stdio: 'inherit' })
}
