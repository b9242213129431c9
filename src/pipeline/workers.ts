import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Piscina } from 'piscina'
import { DiskferryError } from '../bytes/errors.ts'
import type { TaskAnswer } from './tasks/run-task.ts'
import type { TaskKind, TaskTypes } from './tasks/tasks.ts'

export interface WorkersOptions {
  readonly threads: number
  /**
   * The calling thread works too: one fewer at first, the last once more is asked of them than the others can take; and each
   * takes its next task without waiting for the calling thread.
   */
  readonly helped?: boolean
  /** As `nice` has it; without effect where it would be the whole process that steps back. */
  readonly niceness: number
  /** The worker's entry: see `findWorker`. */
  readonly filename: string
}

const MAX_DEFAULT_THREADS = 16

/** How long threads may take to end. One that does not, in native code, is left behind: nothing waits for it any more. */
const END_MS = 5000

/** Worker threads, which begin to load at once. */
export class Workers {
  readonly threads: number
  readonly #atFirst: number
  /** Tasks that each has been given at most; the others wait here. */
  readonly #depth: number
  readonly #pool: Promise<Piscina>
  readonly #loaded: Promise<unknown>
  /** How to reject what has been asked and not been answered. */
  readonly #asked = new Set<(cause: unknown) => void>()
  #ready = 0
  /** Threads, by their number: those at first from the start, another when it has loaded. */
  readonly #created = new Set<number>()
  #broken: { readonly cause: unknown } | undefined

  constructor({ threads, helped = false, niceness, filename }: WorkersOptions) {
    this.threads = threads
    this.#atFirst = helped ? threads - 1 : threads
    this.#depth = helped ? 2 : 1
    this.#pool = this.#create({
      filename,
      minThreads: this.#atFirst,
      maxThreads: threads,
      idleTimeout: Number.POSITIVE_INFINITY,
      concurrentTasksPerWorker: this.#depth,
      recordTiming: false,
      niceIncrement: process.platform === 'linux' ? niceness : 0,
    })
    this.#loaded = Promise.all(Array.from({ length: this.#atFirst }, () => this.#load()))
  }

  /** Some have not loaded yet, and will. */
  get isLoading(): boolean {
    return this.#ready < this.#atFirst && this.#broken === undefined
  }

  /** One that has loaded can take a task at once. */
  get isFree(): boolean {
    return this.#asked.size < this.#ready * this.#depth
  }

  /** One task for each worker, answered when it has loaded. Where one can't be loaded, nothing would ever be answered. */
  async #load(): Promise<void> {
    try {
      await (await this.#pool).run({ kind: 'load', task: { codecs: [] } })
      this.#ready++
    } catch (cause) {
      this.#breakDown(cause)
    }
  }

  /** @throws DiskferryError `worker-lost` when a thread ended before its task did */
  run<K extends TaskKind>(kind: K, task: TaskTypes[K]['task']): Promise<TaskAnswer<K>> {
    const answer = new Promise<TaskAnswer<K>>((resolve, reject) => {
      if (this.#broken !== undefined) return reject(this.#broken.cause)
      this.#asked.add(reject)
      const done = this.#pool.then((piscina) => piscina.run({ kind, task })).finally(() => this.#asked.delete(reject))
      done.then(resolve, reject)
    })
    return answer.catch(lost)
  }

  async close(): Promise<void> {
    const piscina = await this.#pool
    // To end a thread while it loads native code can end the process.
    await this.#loaded
    const isNew = ({ threadId }: { threadId: number }) => !this.#created.has(threadId)
    while (piscina.threads.some(isNew)) await once(piscina, 'workerCreate').catch(() => undefined)
    const patience = new AbortController()
    const enough = delay(END_MS, undefined, patience).catch(() => undefined)
    await Promise.race([piscina.destroy(), enough])
    patience.abort()
  }

  /** Piscina is loaded when it is needed: whoever works without threads does without it. */
  async #create(settings: ConstructorParameters<typeof Piscina>[0]): Promise<Piscina> {
    const { Piscina } = await import('piscina')
    const piscina = new Piscina(settings)
    piscina.on('workerCreate', ({ id }: { id: number }) => this.#created.add(id))
    // An idle worker that dies is replaced; one that dies at work rejects its task.
    piscina.on('error', () => undefined)
    return piscina
  }

  #breakDown(cause: unknown): void {
    this.#broken ??= { cause }
    for (const reject of this.#asked) reject(cause)
  }
}

function lost(cause: unknown): never {
  const message = cause instanceof Error ? cause.message : String(cause)
  throw new DiskferryError('worker-lost', `a worker thread ended before its task did: ${message}`, { cause })
}

/** How many worker threads there are when nobody says. */
export function defaultThreads(): number {
  return Math.min(MAX_DEFAULT_THREADS, availableParallelism())
}

/** Where the worker is, seen from this module: in the package, in a caller's bundle, from the sources under a test. */
const WORKER_PLACES = ['./pipeline/worker.js', './worker.js', '../../dist/pipeline/worker.js']

/**
 * The worker's entry where the caller says, or else the built one: nearby, or where the installed package keeps it.
 * @throws DiskferryError `usage` when it is not where it should be
 */
export function findWorker(workerFile: string | URL | undefined): string {
  if (workerFile !== undefined) return fileName(workerFile)
  const nearby = WORKER_PLACES.map((path) => fileName(new URL(path, import.meta.url)))
  const found = nearby.find((path) => existsSync(path)) ?? installedWorker()
  if (found !== undefined) return found
  throw new DiskferryError('usage', "the worker's file was not found beside the program", {
    expected: nearby.join(' or '),
    hint: 'bundle diskferry/worker as a second entry named worker.js, give its place as workerFile, or set threads to 0',
  })
}

function installedWorker(): string | undefined {
  try {
    return createRequire(import.meta.url).resolve('diskferry/worker')
  } catch {
    return undefined
  }
}

function fileName(place: string | URL): string {
  return place instanceof URL ? fileURLToPath(place) : place
}
