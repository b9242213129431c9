import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { JobQueue, JobRunner } from './jobs/queue.ts'

/** What Prometheus is told. One for each process. */
export class Metrics {
  readonly registry = new Registry()
  readonly #requests = new Histogram({
    name: 'diskferry_http_request_duration_seconds',
    help: 'Requests by route and status',
    labelNames: ['method', 'route', 'status'] as const,
    buckets: [0.005, 0.02, 0.1, 0.5, 2, 10],
    registers: [this.registry],
  })
  readonly #exports = new Counter({
    name: 'diskferry_exports_total',
    help: 'Attempts at exports that have ended, by outcome',
    labelNames: ['outcome'] as const,
    registers: [this.registry],
  })
  readonly #bytes = new Counter({
    name: 'diskferry_exported_bytes_total',
    help: 'Bytes of objects that were written',
    registers: [this.registry],
  })

  readonly #running = new Gauge({
    name: 'diskferry_exports_running',
    help: 'Exports that run in this process',
    registers: [this.registry],
  })

  request(method: string, route: string, status: number, seconds: number): void {
    this.#requests.observe({ method, route, status: String(status) }, seconds)
  }

  /** Counts what a runner's jobs come to. */
  counting(run: JobRunner): JobRunner {
    return async (job, context) => {
      this.#running.inc()
      try {
        const result = await run(job, context)
        this.#exports.inc({ outcome: 'success' })
        this.#bytes.inc(result.size)
        return result
      } catch (error) {
        this.#exports.inc({ outcome: context.signal.aborted ? 'stopped' : 'failure' })
        throw error
      } finally {
        this.#running.dec()
      }
    }
  }

  /** Shows the queue's state, asked for when somebody looks. Of one that can't be reached no numbers are known. */
  watch(queue: JobQueue): void {
    new Gauge({
      name: 'diskferry_jobs',
      help: 'Jobs that have not ended',
      labelNames: ['state'] as const,
      registers: [this.registry],
      async collect() {
        this.reset()
        const counts = await queue.counts().catch(() => undefined)
        if (counts === undefined) return
        this.set({ state: 'waiting' }, counts.waiting)
        this.set({ state: 'running' }, counts.running)
      },
    })
    new Gauge({
      name: 'diskferry_ready',
      help: '1 while jobs are taken, 0 while the queue can not be reached or is closed',
      registers: [this.registry],
      async collect() {
        const ready = queue.assertReady()
        this.set(
          await ready.then(
            () => 1,
            () => 0,
          ),
        )
      },
    })
  }
}
