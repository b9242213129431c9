import { setImmediate as nextTurn } from 'node:timers/promises'
import { DiskferryError, fromPlainError } from '../bytes/errors.ts'
import { EXTENT_WIDTH, Extent, Kind } from '../formats/extents.ts'
import { runTask, type TaskAnswer } from './tasks/run-task.ts'
import { OP_WIDTH, Op, OpKind, type TaskKind, type TaskTypes } from './tasks/tasks.ts'
import { defaultThreads, findWorker, Workers } from './workers.ts'

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
  /**
   * The calling thread has nothing else to do: what only goes from file to file is copied by it too, and by one worker
   * thread less. The last is started once there is more to do than that. Default false, so that a service's event loop
   * stays free.
   */
  copyHere?: boolean | undefined
}

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
  if (threads === 0) return inThreadPool()
  const settings = { threads, niceness, filename: findWorker(options.workerFile) }
  const helps = options.copyHere === true && threads > 1
  const workers = new Workers({ ...settings, helped: helps })
  return helps ? helpingPool(workers) : servicePool(workers)
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

type Task = TaskTypes[TaskKind]['task']

/** The calling thread is left alone, but for a moment. */
function servicePool(workers: Workers): Pool {
  const here = inThreadPool()
  return {
    threads: workers.threads,
    async run(kind, task) {
      // To wait for a thread that still loads takes longer than to do what is quickly done here.
      if (workers.isLoading && !workers.isFree && isQuick(kind, task)) return here.run(kind, task)
      return answered(await workers.run(kind, task))
    },
    close: () => workers.close(),
  }
}

/** The calling thread copies what no worker is free for; it stops with that for good once there is other work. */
export function helpingPool(workers: Workers): Pool {
  const here = inThreadPool()
  let copiesOnly = true
  return {
    threads: workers.threads,
    async run(kind, task) {
      copiesOnly &&= isQuick(kind, task) && isFromFileToFile(task)
      if (copiesOnly && !workers.isFree) return here.run(kind, task)
      return answered(await workers.run(kind, task))
    },
    close: () => workers.close(),
  }
}

/** Takes no longer than reading and writing its bytes do: nothing is packed, unpacked or hashed. */
function isQuick(kind: TaskKind, task: Task): boolean {
  if (kind === 'scan' && 'extents' in task) return !hasKind(task.extents, EXTENT_WIDTH, Extent.kind, Kind.packed)
  return kind === 'fill' && 'ops' in task && !hasKind(task.ops, OP_WIDTH, Op.kind, OpKind.packed)
}

function hasKind(rows: Float64Array, width: number, column: number, kind: number): boolean {
  for (let row = column; row < rows.length; row += width) if (rows[row] === kind) return true
  return false
}

/** The calling thread is not needed for what comes in or goes out. */
function isFromFileToFile(task: Task): boolean {
  return 'input' in task && 'files' in task.input && !('output' in task && 'buffer' in task.output)
}

function answered<K extends TaskKind>(answer: TaskAnswer<K>): TaskTypes[K]['result'] {
  if ('error' in answer) throw fromPlainError(answer.error)
  return answer.result
}
