// A worker that does its tasks well until one of them, and then dies in the way that the environment asks for.
import { threadId } from 'node:worker_threads'

const { WAY: way, AT: at, WORKER: worker } = process.env
const { default: run } = await import(worker)
let tasks = 0

const ways = {
  throws() {
    setImmediate(() => {
      throw new Error('an error that nobody catches')
    })
    return new Promise(() => undefined)
  },
  rejects: () => Promise.reject(new Error('an error of the worker')),
  exits: () => process.exit(3),
  fills() {
    const kept = []
    for (;;) kept.push(new Array(1e5).fill(threadId))
  },
}

export default (message) => (++tasks === Number(at) ? ways[way]() : run(message))
