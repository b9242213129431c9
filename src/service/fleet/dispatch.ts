import type { Job, Queue, Worker } from 'bullmq'
import type { Connections } from './connections.ts'

/** What goes through BullMQ is a job's id alone: what there is to know of it lies in the store. */
export const QUEUE = 'exports'

export interface DispatchOptions {
  readonly connections: Connections
  readonly prefix: string
  readonly onError: (error: unknown) => void
}

/** Runs what a job's id stands for. Resolves when BullMQ may forget the job. */
export type Process = (id: string) => Promise<Disposition>

/** `done`: forget it. `again`: at once, by whoever is free. `later`: after a pause. `gone`: it is someone else's now. */
export type Disposition = 'done' | 'again' | 'later' | 'gone'

export interface Dispatch {
  /** A job that is there already is left as it is. */
  add(id: string, priority: number): Promise<void>
  /** Does nothing to one that runs. */
  remove(id: string): Promise<void>
  close(): Promise<void>
}

export async function openDispatch({ connections, prefix, onError }: DispatchOptions): Promise<Dispatch> {
  const { Queue } = await import('bullmq')
  const queue: Queue = new Queue(QUEUE, {
    connection: connections.brisk,
    prefix,
    streams: { events: { maxLen: 100 } },
  })
  queue.on('error', onError)
  return {
    add: async (id, priority) => void (await queue.add('export', {}, jobOptions(id, priority))),
    remove: async (id) => void (await queue.remove(id)),
    close: () => queue.close(),
  }
}

/** How often a job may fail is the store's affair, so BullMQ must not give up before. */
function jobOptions(jobId: string, priority: number) {
  return {
    jobId,
    priority,
    attempts: 1_000_000,
    backoff: { type: 'custom' },
    removeOnComplete: true,
    removeOnFail: true,
    stackTraceLimit: 1,
  }
}

export interface WorkOptions extends DispatchOptions {
  readonly concurrency: number
  /** A worker that says nothing for so long has lost its jobs. */
  readonly lockMs: number
  /** Pause before the second attempt; twice as long before each further one. */
  readonly backoffMs: number
  readonly process: Process
}

/** Takes jobs, several at once, until it is closed. */
export async function openWorker(options: WorkOptions): Promise<Worker> {
  const bull = await import('bullmq')
  const { connections, prefix, concurrency, lockMs, backoffMs, process } = options
  const run = async (job: Job, token?: string) => {
    const disposition = await process(job.id as string)
    if (disposition === 'done') return
    if (disposition === 'gone') throw new bull.DelayedError('another worker has it')
    // It has waited its turn once.
    await job.changePriority({ priority: 1 })
    if (disposition === 'later') throw new Error('to be tried again')
    await job.moveToWait(token)
    throw new bull.WaitingError()
  }
  const worker = new bull.Worker(QUEUE, run, {
    connection: connections.patient,
    prefix,
    concurrency,
    lockDuration: lockMs,
    stalledInterval: lockMs,
    maxStalledCount: 1_000_000,
    drainDelay: 2,
    settings: { backoffStrategy: (made) => backoffMs * 2 ** Math.min(made - 1, 10) * (0.75 + Math.random() / 2) },
  })
  worker.on('error', options.onError)
  return worker
}
