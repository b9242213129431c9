// node scripts/check-site.mjs FOLDER: follows every link of a built site to the file and the anchor that it names.
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'

const site = process.argv[2] ?? 'site'
const pages = readdirSync(site, { recursive: true, encoding: 'utf8' }).filter((name) => /\.(html|svg)$/.test(name))
const textOf = new Map(pages.map((name) => [name, readFileSync(join(site, name), 'utf8')]))
let followed = 0

const dead = [...textOf].flatMap(([name, text]) =>
  [...text.matchAll(/ (?:href|src)="([^"]*)"/g)].flatMap(([, link]) => {
    if (/^[a-z]+:/.test(link)) return []
    followed += 1
    const [path, anchor] = link.split('#')
    const named = path === '' ? name : join(dirname(name), decodeURIComponent(path))
    if (!existsSync(join(site, named))) return [`${name}: ${link}`]
    const to = statSync(join(site, named)).isDirectory() ? join(named, 'index.html') : named
    const isThere =
      anchor === undefined || anchor === '' || textOf.get(to)?.includes(` id="${decodeURIComponent(anchor)}"`)
    return isThere ? [] : [`${name}: ${link}`]
  }),
)

for (const line of dead) console.error(`dead link in ${line}`)
console.log(`${pages.length} pages, ${followed} links, ${dead.length} dead`)
if (dead.length > 0 || followed === 0) process.exitCode = 1
