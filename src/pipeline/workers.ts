import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import type { Piscina } from 'piscina'
import { DiskferryError } from '../bytes/errors.ts'
import type { TaskAnswer } from './tasks/run-task.ts'
import type { TaskKind, TaskTypes } from './tasks/tasks.ts'

export interface WorkersOptions {
  readonly threads: number
  /** As `nice` has it; without effect where it would be the whole process that steps back. */
  readonly niceness: number
  /** The worker's entry: see `findWorker`. */
  readonly filename: string
  /** Tasks that one has been given at most; the others wait here. */
  readonly depth?: number
}

/** Worker threads: none before they are started, and what is asked of them starts them. */
export class Workers {
  readonly threads: number
  readonly #settings: ConstructorParameters<typeof Piscina>[0]
  readonly #depth: number
  #pool: Promise<Piscina> | undefined
  #loaded: Promise<unknown> | undefined
  /** How to reject what has been asked and not been answered. */
  readonly #asked = new Set<(cause: unknown) => void>()
  #ready = 0
  #broken: { readonly cause: unknown } | undefined

  constructor({ threads, niceness, filename, depth = 1 }: WorkersOptions) {
    this.threads = threads
    this.#depth = depth
    this.#settings = {
      filename,
      minThreads: threads,
      maxThreads: threads,
      concurrentTasksPerWorker: depth,
      recordTiming: false,
      niceIncrement: process.platform === 'linux' ? niceness : 0,
    }
  }

  get isStarted(): boolean {
    return this.#pool !== undefined
  }

  /** Some have not loaded yet, and will. */
  get isLoading(): boolean {
    return this.#ready < this.threads && this.#broken === undefined
  }

  /** One that has loaded can take a task at once. */
  get isFree(): boolean {
    return this.#asked.size < this.#ready * this.#depth
  }

  start(): void {
    if (this.threads === 0 || this.#pool !== undefined) return
    this.#pool = this.#create()
    // One task for each worker, answered when it has loaded. Where one can't be loaded, nothing would ever be answered.
    const load = async () => {
      try {
        await (await this.#pool)?.run({ kind: 'load', task: { codecs: [] } })
        this.#ready++
      } catch (cause) {
        this.#breakDown(cause)
      }
    }
    this.#loaded = Promise.all(Array.from({ length: this.threads }, load))
  }

  /** @throws DiskferryError `worker-lost` when a thread ended before its task did */
  run<K extends TaskKind>(kind: K, task: TaskTypes[K]['task']): Promise<TaskAnswer<K>> {
    this.start()
    const answer = new Promise<TaskAnswer<K>>((resolve, reject) => {
      if (this.#broken !== undefined) return reject(this.#broken.cause)
      this.#asked.add(reject)
      const done = this.#pool?.then((piscina) => piscina.run({ kind, task })).finally(() => this.#asked.delete(reject))
      done?.then(resolve, reject)
    })
    return answer.catch(lost)
  }

  async close(): Promise<void> {
    // To end a thread while it loads native code can end the process.
    await this.#loaded
    await (await this.#pool)?.destroy()
  }

  /** Loaded when it is needed: whoever works without threads does without it. */
  async #create(): Promise<Piscina> {
    const { Piscina } = await import('piscina')
    const piscina = new Piscina(this.#settings)
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
