/** The worker threads' entry: only hands on. What a task does, it does the same on any thread. */
export { runTask as default } from './tasks/run-task.ts'
