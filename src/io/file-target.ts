import { randomBytes } from 'node:crypto'
import { fstatSync } from 'node:fs'
import { type FileHandle, open, realpath, rename, stat, unlink } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { DiskferryError } from '../bytes/errors.ts'
import { descriptorSink } from './descriptor-sink.ts'
import { fileSource } from './file-source.ts'
import type { PositionedSink, Sink, Target } from './sink.ts'
import type { SourceFile } from './source.ts'
import { targetFailed } from './target-error.ts'

export interface FileTargetOptions {
  /** Waits until the bytes are on the disk before the file gets its name. Default false, as `cp` does. */
  sync?: boolean
}

/**
 * A file. It is written under a temporary name beside `path` and renamed when it is whole, so nothing half-written
 * ever has the target's name. One that it replaces gives it its mode, and a symbolic link is followed. Runs of zeros stay
 * holes. A device or a FIFO at `path` is written to in order instead.
 */
export function fileTarget(path: string, { sync = false }: FileTargetOptions = {}): Target {
  return {
    name: path,
    async open(job) {
      if (await isSpecial(path)) return openSpecial(path)
      await assertNotSource(path, job.sourceFiles ?? [])
      return openTemporary(path, job.size, sync)
    },
    readBack: () => fileSource(path),
  }
}

async function isSpecial(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => undefined)
  if (found?.isDirectory()) {
    throw new DiskferryError('usage', `${path} is a directory`, { hint: 'name the file to write' })
  }
  return found !== undefined && !found.isFile()
}

/** Renaming over the source would destroy it. */
async function assertNotSource(path: string, sourceFiles: readonly SourceFile[]): Promise<void> {
  const found = await stat(path, { bigint: true }).catch(() => undefined)
  if (found === undefined) return
  for (const { fd, name } of sourceFiles) {
    const source = fstatSync(fd, { bigint: true })
    if (found.ino !== source.ino || found.dev !== source.dev) continue
    throw new DiskferryError('usage', `${path} is a source itself (${name})`, {
      hint: 'choose another name for the target',
    })
  }
}

async function openSpecial(path: string): Promise<Sink> {
  const handle = await open(path, 'w').catch((cause) => Promise.reject(targetFailed(path, cause)))
  return descriptorSink(handle.fd, path, () => handle.close())
}

async function openTemporary(path: string, size: number | undefined, sync: boolean): Promise<PositionedSink> {
  const place = await realpath(path).catch(() => resolve(path))
  const mode = await modeOf(place)
  const temporary = join(dirname(place), `.diskferry-${randomBytes(6).toString('hex')}.partial`)
  const handle = await open(temporary, 'wx', mode).catch((cause) => Promise.reject(targetFailed(path, cause)))
  const discard = () => discardTemporary(handle, temporary)
  try {
    if (mode !== undefined) await handle.chmod(mode)
    if (size !== undefined) await handle.truncate(size)
  } catch (cause) {
    await discard()
    throw targetFailed(path, cause)
  }
  return {
    kind: 'positioned',
    name: path,
    fd: handle.fd,
    abort: discard,
    async finish() {
      try {
        if (sync) await handle.sync()
        await handle.close()
        await rename(temporary, place)
        if (sync) await syncFolder(dirname(place))
      } catch (cause) {
        throw targetFailed(path, cause)
      }
      return { location: path }
    },
  }
}

/** Who may read and write the file that is there; undefined when there is none. */
async function modeOf(path: string): Promise<number | undefined> {
  const found = await stat(path).catch(() => undefined)
  return found && found.mode & 0o777
}

async function discardTemporary(handle: FileHandle, temporary: string): Promise<void> {
  await handle.close().catch(() => undefined)
  await unlink(temporary).catch(() => undefined)
}

/** A rename is on the disk only once its folder is. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  await handle.sync().finally(() => handle.close())
}
