import { type FileHandle, mkdir, open, readFile, rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import { DiskferryError } from '../../bytes/errors.ts'
import type { JobRecord } from './job.ts'

/** What an in-process queue knows, kept across restarts. */
export interface Journal {
  /** Resolves when the record would outlive the machine. Records of one job replace each other. */
  write(record: JobRecord): Promise<void>
  close(): Promise<void>
}

export interface OpenedJournal {
  readonly journal: Journal
  readonly records: JobRecord[]
}

/**
 * A file of one JSON record a line, the last of a job being the one that counts. Written anew, without what is
 * outdated, each time it is opened: `keep` finished jobs stay, the newest.
 * @throws DiskferryError `malformed` for a line that is no record; a last line that was cut off is left out
 */
export async function openJournal(path: string, keep: number): Promise<OpenedJournal> {
  await mkdir(dirname(path), { recursive: true })
  const records = newest(await readRecords(path), keep)
  const fresh = `${path}.new`
  const handle = await open(fresh, 'w', 0o600)
  try {
    await handle.writeFile(records.map(lineOf).join(''))
    await handle.datasync()
    await rename(fresh, path)
    await syncFolder(dirname(path))
  } catch (error) {
    await handle.close()
    throw error
  }
  return { journal: new FileJournal(handle), records }
}

/** Without a file: a restart knows nothing of the jobs before it. */
export const noJournal: Journal = { write: async () => undefined, close: async () => undefined }

class FileJournal implements Journal {
  readonly #handle: FileHandle
  #waiting: string[] = []
  #writing: Promise<void> | undefined
  #next: Promise<void> | undefined

  constructor(handle: FileHandle) {
    this.#handle = handle
  }

  /** Whatever comes while a write is under way goes with the next one, all of it at once. */
  write(record: JobRecord): Promise<void> {
    this.#waiting.push(lineOf(record))
    this.#next ??= this.#flushAfter(this.#writing)
    return this.#next
  }

  async #flushAfter(before: Promise<void> | undefined): Promise<void> {
    await before?.catch(() => undefined)
    const lines = this.#waiting
    this.#waiting = []
    this.#writing = this.#next
    this.#next = undefined
    await this.#handle.appendFile(lines.join(''))
    await this.#handle.datasync()
  }

  async close(): Promise<void> {
    await (this.#next ?? this.#writing)?.catch(() => undefined)
    await this.#handle.close()
  }
}

const lineOf = (record: JobRecord) => `${JSON.stringify(record)}\n`

async function readRecords(path: string): Promise<JobRecord[]> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return ''
    throw error
  })
  const byId = new Map<string, JobRecord>()
  // What follows the last line's end is a write that was cut off: nobody was told that it had been made.
  for (const [index, line] of text.split('\n').slice(0, -1).entries()) {
    const record = recordOf(line, path, index + 1)
    byId.set(record.id, record)
  }
  return [...byId.values()]
}

function recordOf(line: string, path: string, number: number): JobRecord {
  try {
    const record = JSON.parse(line) as JobRecord
    if (typeof record.id === 'string' && typeof record.state === 'string') return record
  } catch {}
  throw new DiskferryError('malformed', `line ${number} of the journal ${path} is no job's record`, {
    found: line.slice(0, 80),
    hint: 'move the file away to begin without a history',
  })
}

function newest(records: readonly JobRecord[], keep: number): JobRecord[] {
  const finished = records.filter(({ endedAt }) => endedAt !== undefined)
  const outdated = new Set(finished.slice(0, Math.max(0, finished.length - keep)))
  return records.filter((record) => !outdated.has(record))
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
