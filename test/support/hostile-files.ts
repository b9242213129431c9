import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import type { FormatName } from '../../src/index.ts'
import { root } from './run-node.ts'

export interface HostileFile {
  readonly name: string
  readonly format: FormatName
  readonly bytes: Buffer
}

/** Files that once were too much for a reader, or are the plainest of their kind. Whatever lies in the folder counts. */
export function hostileFiles(): HostileFile[] {
  const folder = join(root, 'fixtures', 'hostile')
  return readdirSync(folder).map((file) => {
    const name = file.replace(/\.gz$/, '')
    const stored = readFileSync(join(folder, file))
    const bytes = name === file ? stored : gunzipSync(stored)
    return { name, bytes, format: name.split('.').at(-1) as FormatName }
  })
}
