// Prints the bill of materials of what is installed for production: npm run --silent sbom > sbom.json
// `npm sbom --omit=dev` leaves out what is needed for production and for development both. So npm is shown a manifest
// and a lock file without what is only for development.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const read = (name) => JSON.parse(readFileSync(new URL(`../${name}`, import.meta.url), 'utf8'))
const withoutDev = ({ devDependencies, scripts, overrides, ...rest }) => rest

const manifest = withoutDev(read('package.json'))
const lock = read('package-lock.json')
const packages = Object.entries(lock.packages).filter(([, { dev }]) => !dev)
const { '': project, ...others } = Object.fromEntries(packages)

const folder = mkdtempSync(join(tmpdir(), 'diskferry-sbom-'))
try {
  writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest))
  const shown = { ...lock, packages: { '': withoutDev(project), ...others } }
  writeFileSync(join(folder, 'package-lock.json'), JSON.stringify(shown))
  const args = ['sbom', '--package-lock-only', '--sbom-format=cyclonedx', '--sbom-type=library']
  process.stdout.write(execFileSync('npm', args, { cwd: folder, stdio: ['ignore', 'pipe', 'inherit'] }))
} finally {
  rmSync(folder, { recursive: true })
}
