import { fstatSync, type Stats } from 'node:fs'
import { realpath, stat } from 'node:fs/promises'
import { isAbsolute, join, relative, sep } from 'node:path'
import { DiskferryError } from '../bytes/errors.ts'
import { fileSource } from './file-source.ts'
import type { Source } from './source.ts'
import { systemErrorName } from './system-error.ts'

/** The gate to other files that an image names. No reader opens a file by itself. */
export interface Companions {
  /**
   * Hands over the file that an image calls `name`; undefined says that the image may not have it. From then on the
   * source is the image's, and is closed with it.
   */
  open(name: string): Promise<Source | undefined>
}

/**
 * Regular files in one folder, by plain names only: no path, and no link that leads out of the folder.
 */
export function folderCompanions(folder: string): Companions {
  return {
    async open(name) {
      if (!isPlainName(name)) return undefined
      const path = await resolved(join(folder, name))
      const found = await stat(path).catch((cause) => Promise.reject(unreadable(path, cause)))
      if (!found.isFile() || !isInside(path, await resolved(folder))) return undefined
      const source = await fileSource(path)
      if (isSameFile(source, found)) return source
      await source.close?.()
      return undefined
    },
  }
}

/** A file's own name: nothing that a file system takes for a step to another folder. */
export function isPlainName(name: string): boolean {
  return name !== '' && name !== '.' && name !== '..' && !/[/\\\0]/.test(name)
}

function isInside(path: string, folder: string): boolean {
  const way = relative(folder, path)
  return way !== '' && way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way)
}

/** What was opened is what was looked at, though someone may have moved a link in between. */
function isSameFile(source: Source, { ino, dev }: Stats): boolean {
  return (source.files ?? []).every(({ fd }) => {
    const opened = fstatSync(fd)
    return opened.ino === ino && opened.dev === dev
  })
}

function resolved(path: string): Promise<string> {
  return realpath(path).catch((cause) => Promise.reject(unreadable(path, cause)))
}

function unreadable(path: string, cause: unknown): DiskferryError {
  const found = systemErrorName(cause)
  const hint = found === 'ENOENT' ? 'the image names this file: put it beside it' : 'check that the file may be read'
  return new DiskferryError('source-unreadable', `can't open ${JSON.stringify(path)}: ${found}`, { found, hint, cause })
}
