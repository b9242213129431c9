import { addAbortSignal, Readable } from 'node:stream'
import { DiskferryError, isDiskferryError } from '../../bytes/errors.ts'
import { refusal } from '../remote/answer.ts'
import { Deadline } from '../remote/deadline.ts'
import { policyOf } from '../remote/remote-source.ts'
import { isTransient, type RetryPolicy, retrying, Transient } from '../remote/retry.ts'
import type { RangeAnswer, Transport } from '../remote/transport.ts'
import type { SequentialSource } from '../sequential-source.ts'
import { type HttpSourceOptions, httpTransport } from './http-source.ts'

/**
 * An image on a web server that serves no ranges, read front to back by one GET. What fails before the first byte is tried
 * again; what fails later can't be. All of it may take as long as it likes, as long as something comes.
 * @throws DiskferryError `usage` for what is no URL; `source-unreadable` when the server refuses
 */
export async function httpStream(url: string | URL, options: HttpSourceOptions = {}): Promise<SequentialSource> {
  const transport = await httpTransport(url, { ...options, connections: 1 })
  const closed = new AbortController()
  const signal = options.signal === undefined ? closed.signal : AbortSignal.any([options.signal, closed.signal])
  const policy = policyOf(options)
  try {
    const { contentLength, body = Readable.from([]) } = await open(transport, policy, signal)
    addAbortSignal(signal, body)
    return {
      name: transport.name,
      ...(contentLength !== undefined && { size: contentLength }),
      chunks: () => chunksOf(body, transport.name, policy, signal),
      close() {
        closed.abort(new Error(`${transport.name} was closed`))
        transport.close()
      },
    }
  } catch (error) {
    transport.close()
    throw error
  }
}

async function open(transport: Transport, policy: RetryPolicy, signal: AbortSignal): Promise<RangeAnswer> {
  let opened: RangeAnswer | undefined
  const attempt = async () => {
    const deadline = new Deadline(policy, signal)
    try {
      opened = await request(transport, deadline.signal)
    } catch (error) {
      const cause = deadline.explain(error)
      if (cause instanceof Transient || isDiskferryError(cause) || signal.aborted) throw cause
      throw isTransient(cause) ? new Transient(unreadable(transport.name, cause)) : unreadable(transport.name, cause)
    } finally {
      deadline.stop()
    }
  }
  await retrying(attempt, () => 0, policy, signal)
  return opened as unknown as RangeAnswer
}

async function request(transport: Transport, signal: AbortSignal): Promise<RangeAnswer> {
  const answer = await transport.get({ offset: 0, length: Number.POSITIVE_INFINITY, ifMatch: undefined, signal })
  const { status, contentRange = '', body } = answer
  if (status === 200 || (status === 206 && contentRange.startsWith('bytes 0-'))) return answer
  body?.destroy()
  throw refusal(transport.name, answer)
}

async function* chunksOf(
  body: Readable,
  name: string,
  { stallTimeoutMs }: RetryPolicy,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const stalled = Object.assign(new Error(`nothing came for ${stallTimeoutMs} ms`), { code: 'ETIMEDOUT' })
  const chunks = body[Symbol.asyncIterator]()
  try {
    for (;;) {
      // Only while a chunk is waited for: who takes long over one is not the server.
      const timer = setTimeout(() => body.destroy(stalled), stallTimeoutMs)
      const { done, value } = await chunks.next().finally(() => clearTimeout(timer))
      if (done) return
      yield value
    }
  } catch (error) {
    throw signal.aborted ? signal.reason : unreadable(name, error)
  } finally {
    body.destroy()
  }
}

function unreadable(name: string, cause: unknown): DiskferryError {
  const found = (cause as NodeJS.ErrnoException)?.code ?? (cause as Error)?.name ?? 'error'
  const message = `can't read ${name}: ${(cause as Error)?.message || found}`
  return new DiskferryError('source-unreadable', message, { found, hint: 'check the connection, and try again', cause })
}
