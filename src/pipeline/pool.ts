import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism } from 'node:os'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Piscina } from 'piscina'
import { DiskferryError, fromPlainError } from '../bytes/errors.ts'
import { runTask, type TaskAnswer } from './tasks/run-task.ts'
import type { TaskKind, TaskTypes } from './tasks/tasks.ts'

/** Threads that do the work. One pool may serve any number of conversions, one after the other or at once. */
export interface Pool {
  /** 0: tasks run on the calling thread, between turns of its event loop. */
  readonly threads: number
  run<K extends TaskKind>(kind: K, task: TaskTypes[K]['task']): Promise<TaskTypes[K]['result']>
  close(): Promise<void>
}

export interface PoolOptions {
  /** Worker threads; 0 for none. Default: one for each core, at most 16. */
  threads?: number | undefined
  /** The worker's entry file, where a bundler has put it somewhere else. */
  workerFile?: string | URL | undefined
  /**
   * How far the worker threads step back behind the calling thread and other programs when there are not cores enough for
   * all: 0 to 19, as `nice` has it. On Linux only. Default: 5, so that a service still answers at once.
   */
  niceness?: number | undefined
}

const MAX_DEFAULT_THREADS = 16
/** Ours: with less, a host's timers are late by a scheduler's slice; with more, nothing is gained. */
const DEFAULT_NICENESS = 5
const MOST_NICENESS = 19

export function createPool(options: PoolOptions = {}): Pool {
  const { threads = defaultThreads(), niceness = DEFAULT_NICENESS } = options
  if (!Number.isSafeInteger(threads) || threads < 0) {
    throw new DiskferryError('usage', `threads is ${threads}: it takes a whole number, 0 for none`, { found: threads })
  }
  if (!Number.isSafeInteger(niceness) || niceness < 0 || niceness > MOST_NICENESS) {
    const found = { found: niceness, expected: `0 to ${MOST_NICENESS}` }
    throw new DiskferryError('usage', `niceness is ${niceness}: it takes a whole number up to ${MOST_NICENESS}`, found)
  }
  return threads === 0 ? inThreadPool() : threadPool(threads, niceness, options.workerFile)
}

/** How many worker threads a pool has when nobody says. */
export function defaultThreads(): number {
  return Math.min(MAX_DEFAULT_THREADS, availableParallelism())
}

function inThreadPool(): Pool {
  return {
    threads: 0,
    async run(kind, task) {
      await nextTurn()
      return answered(await runTask({ kind, task }))
    },
    close: async () => undefined,
  }
}

function threadPool(threads: number, niceness: number, workerFile: string | URL | undefined): Pool {
  const filename = workerFile === undefined ? findWorker() : fileName(workerFile)
  // Elsewhere it would be the whole process that steps back.
  const niceIncrement = process.platform === 'linux' ? niceness : 0
  const piscina = new Piscina({
    filename,
    minThreads: threads,
    maxThreads: threads,
    recordTiming: false,
    niceIncrement,
  })
  // An idle worker that dies is replaced; one that dies at work rejects its task.
  piscina.on('error', () => undefined)
  const waiting = new Set<(cause: unknown) => void>()
  let ready = 0
  let broken: { readonly cause: unknown } | undefined
  const breakDown = (cause: unknown) => {
    broken ??= { cause }
    for (const reject of waiting) reject(cause)
  }
  const send = <K extends TaskKind>(kind: K, task: TaskTypes[K]['task']) =>
    new Promise<TaskAnswer<K>>((resolve, reject) => {
      if (broken !== undefined) return reject(broken.cause)
      waiting.add(reject)
      const done = piscina.run({ kind, task }).finally(() => waiting.delete(reject))
      done.then(resolve, reject)
    })
  // One task for each worker, answered when it has loaded. Where one can't be loaded, nothing would ever be answered.
  const load = () => send('load', { codecs: [] }).then(() => ready++, breakDown)
  const loaded = Promise.all(Array.from({ length: threads }, load))
  /** To wait for a thread that still loads takes longer than to do what is quickly done here. */
  const isBetterDoneHere = (kind: TaskKind, task: TaskTypes[TaskKind]['task']) =>
    ready < threads && waiting.size >= threads && broken === undefined && isQuick(kind, task)
  const here = inThreadPool()
  return {
    threads,
    async run(kind, task) {
      if (isBetterDoneHere(kind, task)) return here.run(kind, task)
      return answered(await send(kind, task).catch(lost))
    },
    async close() {
      // To end a thread while it loads native code can end the process.
      await loaded
      await piscina.destroy()
    },
  }
}

/** Takes no longer than reading and writing its bytes do: nothing is packed, unpacked or hashed. */
function isQuick(kind: TaskKind, task: TaskTypes[TaskKind]['task']): boolean {
  return (kind === 'scan' || kind === 'fill') && 'codecs' in task && task.codecs.length === 0
}

function answered<K extends TaskKind>(answer: TaskAnswer<K>): TaskTypes[K]['result'] {
  if ('error' in answer) throw fromPlainError(answer.error)
  return answer.result
}

function lost(cause: unknown): never {
  const message = cause instanceof Error ? cause.message : String(cause)
  throw new DiskferryError('worker-lost', `a worker thread ended before its task did: ${message}`, { cause })
}

/** Where the worker is, seen from this module: in the package, in a caller's bundle, from the sources under a test. */
const WORKER_PLACES = ['./pipeline/worker.js', './worker.js', '../../dist/pipeline/worker.js']

/** The built worker: nearby, or where the installed package keeps it. */
function findWorker(): string {
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
