import type { BigIntStats } from 'node:fs'
import { type FileHandle, open, readFile } from 'node:fs/promises'
import { DiskferryError } from '../bytes/errors.ts'
import { SECTOR } from '../bytes/units.ts'
import { dataRuns } from './file-holes.ts'
import { readFailed, type Source } from './source.ts'
import { systemErrorName } from './system-error.ts'

/** What `st_blocks` counts in (stat(2)). */
const STAT_BLOCK = 512n

/**
 * Opens a regular file or a block device for reading.
 * @throws DiskferryError `source-unreadable` when it can't be opened or is neither
 */
export async function fileSource(path: string): Promise<Source> {
  const handle = await openForReading(path)
  try {
    const opened = await handle.stat({ bigint: true })
    const size = await sizeOf(path, opened)
    return {
      size,
      name: path,
      // What is written to a device changes no time of its.
      ...(opened.isFile() && { version: `${opened.dev}-${opened.ino}-${size}-${opened.mtimeNs}` }),
      files: [{ fd: handle.fd, name: path, base: 0, length: size }],
      ...(isSparse(opened) && { dataRuns: (start, end) => dataRuns(handle.fd, start, end) }),
      read: (offset, length) =>
        readUpTo(handle, offset, length).catch((cause) => Promise.reject(readFailed(path, offset, cause))),
      assertUnchanged: async () => assertSame(path, opened, await handle.stat({ bigint: true })),
      close: () => handle.close(),
    }
  } catch (error) {
    await handle.close()
    throw error
  }
}

/** Stores less than its size. A device has no blocks of its own. */
function isSparse(stats: BigIntStats): boolean {
  return stats.isFile() && stats.blocks * STAT_BLOCK < stats.size
}

async function openForReading(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'r')
  } catch (cause) {
    const reason = systemErrorName(cause)
    const hint = reason === 'ENOENT' ? 'check the path' : 'check that the file may be read'
    throw new DiskferryError('source-unreadable', `can't open ${path}: ${reason}`, { found: reason, hint, cause })
  }
}

async function sizeOf(path: string, stats: BigIntStats): Promise<number> {
  if (stats.isFile()) return Number(stats.size)
  if (stats.isBlockDevice()) return blockDeviceSize(stats.rdev)
  const kind = stats.isDirectory() ? 'a directory' : 'not a regular file or block device'
  throw new DiskferryError('source-unreadable', `can't read an image from ${path}: it is ${kind}`, { found: kind })
}

/** Linux gives a device's size in sectors under its major:minor number. */
async function blockDeviceSize(device: bigint): Promise<number> {
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & ~0xfffn)
  const minor = (device & 0xffn) | ((device >> 12n) & ~0xffn & 0xffffffffn)
  return Number(await readFile(`/sys/dev/block/${major}:${minor}/size`, 'utf8')) * SECTOR
}

async function readUpTo(handle: FileHandle, offset: number, length: number): Promise<Uint8Array> {
  const bytes = Buffer.allocUnsafe(length)
  let done = 0
  while (done < length) {
    const { bytesRead } = await handle.read(bytes, done, length - done, offset + done)
    if (bytesRead === 0) break
    done += bytesRead
  }
  return bytes.subarray(0, done)
}

function assertSame(path: string, before: BigIntStats, now: BigIntStats): void {
  if (before.size === now.size && before.mtimeNs === now.mtimeNs) return
  throw new DiskferryError('source-changed', `${path} was written to while it was being read`, {
    found: `${now.size} bytes, changed ${now.mtime.toISOString()}`,
    expected: `${before.size} bytes, changed ${before.mtime.toISOString()}`,
    hint: 'stop what writes to it (a running machine?), or convert a snapshot',
  })
}
