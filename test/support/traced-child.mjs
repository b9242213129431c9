// Runs under strace: looks at and converts every image that lies in a folder, with the built library.
// usage: node traced-child.mjs LIBRARY FOLDER MARKER ALLOWED, where ALLOWED is '' or a folder for backing files
import { mkdir, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const [library, folder, marker, allowed] = process.argv.slice(2)
const { convert, createPool, folderCompanions, inspect } = await import(pathToFileURL(library))
const MOST_CONVERTED = 64 * 2 ** 20

const pool = createPool({ threads: 2 })
const counts = {}
const tried = async (action) => {
  const outcome = await action().then(
    () => 'done',
    ({ code, stack }) => code ?? stack,
  )
  counts[outcome] = (counts[outcome] ?? 0) + 1
}
const backing = allowed ? folderCompanions(allowed) : undefined

async function attempt(image, from, target) {
  const options = { from, backing }
  const found = await inspect(image, options).catch(() => undefined)
  await tried(() => inspect(image))
  if ((found?.virtualSize ?? 0) > MOST_CONVERTED) return
  await tried(() => convert({ source: image, target, to: 'raw', pool, ...options }))
}

// Once over everything, so that whatever the program loads late is loaded, and once more behind the marker.
const names = (await readdir(folder)).filter((name) => name !== 'target').sort()
await mkdir(join(folder, 'target'), { recursive: true })
for (const pass of ['load', 'traced']) {
  if (pass === 'traced') await readFile(marker)
  for (const name of names) {
    for (const file of await readdir(join(folder, name))) {
      await attempt(join(folder, name, file), file.split('.').at(-1), join(folder, 'target', 'disk'))
    }
  }
}
await pool.close()
console.log(JSON.stringify({ images: names.length, counts }))
