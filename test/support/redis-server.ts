import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'

/** A Redis of the test file's own; loopback only, its data in the OS's temporary folder. */
export interface RedisServer {
  readonly url: string
  readonly pid: number
  /** Ends it, with what it holds on disk, and starts it again on the same port. */
  restart(options?: { readonly downMs?: number }): Promise<void>
  /** Ends it, with what it holds on disk. */
  end(): Promise<void>
  /** Starts it again on the same port. */
  start(): Promise<void>
  stop(): Promise<void>
}

const START_MS = 30_000

/** Debian's redis-server, keeping what it is given the way a fleet's has to. */
export async function startRedis(): Promise<RedisServer> {
  const folder = await mkdtemp(join(tmpdir(), 'redis-'))
  const port = await freePort()
  const url = `redis://127.0.0.1:${port}`
  let child = await launch(port, folder)
  const end = async () => {
    const gone = once(child, 'exit')
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGTERM')
    await gone
  }
  const start = async () => {
    child = await launch(port, folder)
  }
  return {
    url,
    get pid() {
      return child.pid as number
    },
    async restart({ downMs = 0 } = {}) {
      await end()
      await sleep(downMs)
      await start()
    },
    end,
    start,
    async stop() {
      await end()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

async function launch(port: number, folder: string): Promise<ChildProcess> {
  const settings = { bind: '127.0.0.1', port, dir: folder, save: '', appendonly: 'yes', loglevel: 'warning' }
  const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)])
  const child = spawn('redis-server', args, { stdio: ['ignore', 'pipe', 'inherit'] })
  process.once('exit', () => child.kill())
  const redis = new Redis(port, '127.0.0.1', { retryStrategy: () => 50, maxRetriesPerRequest: null })
  redis.on('error', () => undefined)
  const failed = once(child, 'error').then(([error]) => Promise.reject(error))
  const exited = once(child, 'exit').then(() => Promise.reject(new Error('redis-server ended: is it installed?')))
  exited.catch(() => undefined)
  failed.catch(() => undefined)
  const late = sleep(START_MS, undefined, { ref: false }).then(() =>
    Promise.reject(new Error('redis-server is silent')),
  )
  try {
    await Promise.race([redis.ping(), failed, exited, late])
  } finally {
    redis.disconnect()
  }
  return child
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}
