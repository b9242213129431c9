#!/usr/bin/env node
import { startWorkers } from './early-workers.ts'

// They load while the rest of the program does.
startWorkers(process.argv)
const { run } = await import('./run.ts')
await run(process.argv)
