/*
 * Where a sparse file stores nothing: lseek(2) with SEEK_DATA and SEEK_HOLE, which Node.js does not offer, by the optional
 * package koffi. Without it, or where the system or the file system does not tell, a file is one run of data.
 */

/** lseek's `whence`, and the error that says that only a hole follows, as Linux numbers them. */
const SEEK_DATA = 3
const SEEK_HOLE = 4
const ENXIO = 6

/** The offset that lseek gives; -1 where it fails, and `error` says why. */
interface Seeking {
  seek(fd: number, offset: number, whence: number): number
  error(): number
}
let loaded: Promise<Seeking | undefined> | undefined

function seekingHere(): Promise<Seeking | undefined> {
  loaded ??= loadSeeking()
  return loaded
}

/** Whether holes can be found on this machine. Loads what it takes. */
export async function findsHoles(): Promise<boolean> {
  return (await seekingHere()) !== undefined
}

/**
 * Runs `[from, to]` of a file's bytes `start` to `end` in which something is stored, ascending. What lies between them reads
 * as zeros.
 */
export async function* dataRuns(fd: number, start: number, end: number): AsyncGenerator<readonly [number, number]> {
  const seeking = await seekingHere()
  if (seeking === undefined) return yield [start, end]
  for (let at = start; at < end; ) {
    const from = seeking.seek(fd, at, SEEK_DATA)
    if (from < 0) return seeking.error() === ENXIO ? undefined : yield [at, end]
    if (from >= end) return
    const hole = seeking.seek(fd, from, SEEK_HOLE)
    const to = hole > from ? Math.min(hole, end) : end
    yield [from, to]
    at = to
  }
}

async function loadSeeking(): Promise<Seeking | undefined> {
  if (process.platform !== 'linux') return undefined
  try {
    const { default: koffi } = await import('koffi')
    const lseek = koffi.load(null).func('int64_t lseek(int fd, int64_t offset, int whence)')
    return { seek: (...where) => Number(lseek(...where)), error: () => koffi.errno() }
  } catch {
    return undefined
  }
}
