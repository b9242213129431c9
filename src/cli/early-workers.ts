import { defaultThreads, findWorker, Workers } from '../pipeline/workers.ts'

/** A command's calling thread has nobody to answer, and so none need step back behind it. */
export const NICENESS = 0

let early: Workers | undefined

/** Starts threads for a conversion that says nothing of them, before the program has been loaded that reads its options. */
export function startWorkers([, , command, ...flags]: readonly string[]): void {
  const threads = defaultThreads()
  if (command !== 'convert' || threads === 1 || flags.some((flag) => /^--(threads|help)\b/.test(flag))) return
  early = new Workers({ threads, niceness: NICENESS, filename: findWorker(undefined), helped: true })
}

/** Hands over what was started; whoever takes it closes it. */
export function takeWorkers(): Workers | undefined {
  const workers = early
  early = undefined
  return workers
}
