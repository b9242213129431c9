import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const root = fileURLToPath(new URL('../src', import.meta.url))
const MOST_LINES = 300

/** Each layer may import from itself and from those before it; `cli` knows `service` only as what it starts. */
const LAYERS = ['bytes', 'io', 'formats', 'guest', 'rules', 'pipeline', 'service', 'cli']

interface SourceFile {
  /** Relative to `src`. */
  readonly path: string
  readonly lines: number
  /** Relative to `src` for the project's own files, otherwise as written. */
  readonly imports: readonly string[]
}

const files: SourceFile[] = readdirSync(root, { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.ts'))
  .map((path) => {
    const text = readFileSync(join(root, path), 'utf8')
    return { path, lines: text.trimEnd().split('\n').length, imports: importsOf(path, text) }
  })
const everyImport = files.flatMap(({ path, imports }) => imports.map((imported) => ({ path, imported })))

function importsOf(path: string, text: string): string[] {
  const found = [...text.matchAll(/(?:\bfrom|\bimport|\bimport\(|\brequire\()\s*'([^']+)'/g)].map(
    (match) => match[1] as string,
  )
  return found.map((name) => (name.startsWith('.') ? relative(root, resolve(root, dirname(path), name)) : name))
}

const layerOf = (path: string) => (path.includes('/') ? (path.split('/')[0] as string) : 'index')
const isOwn = ({ imported }: { imported: string }) => imported.endsWith('.ts')

/** Imports that break a rule, one a line. */
function breaking(rule: (edge: { path: string; imported: string }) => boolean): string[] {
  return everyImport.filter(rule).map(({ path, imported }) => `${path} imports ${imported}`)
}

/** Imports of a package from anywhere but where it belongs. */
function strays(packageName: RegExp, home: RegExp): string[] {
  return breaking(({ path, imported }) => packageName.test(imported) && !home.test(path))
}

describe('the sources', () => {
  it('are found, with their imports', () => {
    expect(files.length).toBeGreaterThan(30)
    expect(everyImport).toContainEqual({ path: 'formats/vhd/open.ts', imported: 'formats/vhd/spec.ts' })
    expect(everyImport).toContainEqual({ path: 'pipeline/workers.ts', imported: 'piscina' })
  })

  it('lie each in a layer', () => {
    const known = new Set([...LAYERS, 'index'])
    expect(files.filter(({ path }) => !known.has(layerOf(path))).map(({ path }) => path)).toEqual([])
  })

  it('import from their own layer and from those below, never from above', () => {
    const upward = breaking((edge) => {
      const [from, to] = [layerOf(edge.path), layerOf(edge.imported)]
      if (!isOwn(edge) || from === 'index') return false
      if (from === 'cli' && to === 'service') return edge.imported !== 'service/index.ts'
      return to === 'index' ? from !== 'cli' && from !== 'service' : LAYERS.indexOf(to) > LAYERS.indexOf(from)
    })
    expect(upward).toEqual([])
  })

  it('that run in worker threads load nothing of what plans their work', () => {
    const tasks = /^pipeline\/(tasks\/|digest\/content-digest.ts$)/
    const inTasks = /^pipeline\/tasks\//
    expect(everyImport.some(({ path }) => inTasks.test(path))).toBe(true)
    const strange = breaking(({ path, imported }) => {
      return inTasks.test(path) && imported.startsWith('pipeline/') && !tasks.test(imported)
    })
    expect(strange).toEqual([])
  })

  it('of one format know nothing of another', () => {
    const formatOf = (path: string) => /^formats\/([^/]+)\//.exec(path)?.[1]
    const across = breaking(({ path, imported }) => {
      const [own, other] = [formatOf(path), formatOf(imported)]
      return own !== undefined && other !== undefined && own !== other
    })
    expect(across).toEqual([])
  })

  it('use no package but at its one place', () => {
    expect(strays(/^@aws-sdk\/|^@smithy\//, /^io\//)).toEqual([])
    expect(strays(/^piscina/, /^pipeline\/workers\.ts$/)).toEqual([])
    expect(strays(/^commander|^cli-progress/, /^cli\//)).toEqual([])
    expect(strays(/^bullmq|^ioredis|^hono|^@hono\/|^pino|^prom-client/, /^service\//)).toEqual([])
    expect(strays(/^zod/, /^(rules|service)\//)).toEqual([])
    expect(strays(/^fast-crc32c|^@node-rs\/crc32/, /^bytes\//)).toEqual([])
  })

  it('speak HTTP only where it is their business', () => {
    expect(strays(/^(node:)?https?$/, /^(io|service|cli)\//)).toEqual([])
  })

  it('do no I/O where they only reckon', () => {
    expect(
      strays(/^(node:)?(fs|net|http|https|child_process|worker_threads)(\/|$)/, /^(io|pipeline|service|cli)\//),
    ).toEqual([])
  })

  it('have at most 300 lines a file', () => {
    expect(files.filter(({ lines }) => lines > MOST_LINES).map(({ path, lines }) => `${path}: ${lines}`)).toEqual([])
  })

  it('have no ring of imports', () => {
    expect(rings()).toEqual([])
  })
})

/** Files that import themselves by way of others, types left out of account: those are gone when the program runs. */
function rings(): string[] {
  const byPath = new Map(files.map(({ path }) => [path, valueImports(path)]))
  const done = new Set<string>()
  const found: string[] = []
  const visit = (path: string, trail: readonly string[]): void => {
    if (trail.includes(path)) found.push([...trail.slice(trail.indexOf(path)), path].join(' → '))
    else if (!done.has(path)) for (const next of byPath.get(path) ?? []) visit(next, [...trail, path])
    done.add(path)
  }
  for (const { path } of files) visit(path, [])
  return found
}

function valueImports(path: string): string[] {
  const text = readFileSync(join(root, path), 'utf8')
  return importsOf(path, text.replace(/^(?:import|export) type [^;]*?from '[^']+'$/gms, '')).filter((name) =>
    name.endsWith('.ts'),
  )
}
