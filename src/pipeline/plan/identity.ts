import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { DiskImage } from '../../formats/format.ts'
import type { Source } from '../../io/source.ts'

/**
 * Stands for every byte that a plan makes: by the program, the plan's seed, the sources' versions, and where in them each
 * guest byte lies. The tables are walked for it, and no data is read. Undefined where a source has no version.
 */
export async function identityOf(
  image: DiskImage,
  sources: readonly Source[],
  seed: Uint8Array,
): Promise<string | undefined> {
  const program = await programVersion()
  const versions = sources.map(({ version }) => version)
  if (program === undefined || versions.includes(undefined)) return undefined
  const hash = createHash('sha256').update(JSON.stringify({ program, versions })).update(seed)
  for await (const rows of image.extents()) hash.update(rows)
  return hash.digest('hex')
}

/** Where the package's file is, seen from this module: bundled in dist, and from the sources under a test. */
const PACKAGE_PLACES = ['../package.json', '../../../package.json']

/** Another version may lay out the same disk otherwise. Undefined where a bundler has left the package's file behind. */
async function programVersion(): Promise<string | undefined> {
  for (const place of PACKAGE_PLACES) {
    const text = await readFile(new URL(place, import.meta.url), 'utf8').catch(() => '{}')
    const { name, version } = JSON.parse(text) as { name?: string; version?: string }
    if (name === 'diskferry') return version
  }
  return undefined
}
