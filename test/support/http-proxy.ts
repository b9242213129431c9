import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll } from 'vitest'

/** What the proxy does with a request, when it does not simply pass it on. */
export type Fault =
  /** The connection breaks before any answer. */
  | { readonly kind: 'reset' }
  | { readonly kind: 'status'; readonly status: number; readonly headers?: Record<string, string> }
  /** Nothing is ever answered, or nothing more after `after` bytes of body. */
  | { readonly kind: 'stall'; readonly after?: number }
  /** The connection breaks after so many bytes of body. */
  | { readonly kind: 'cut'; readonly after: number }
  /** The server does what it is asked, and its answer is lost. */
  | { readonly kind: 'lost' }
  /** The body ends properly after so many bytes: a lie about its length. */
  | { readonly kind: 'short'; readonly after: number }

export interface SeenHttp {
  readonly method: string
  readonly url: string
  readonly headers: IncomingMessage['headers']
  /** The client's, by which its connections are told apart. */
  readonly port: number | undefined
}

/** A proxy in front of a real server, which counts, and can get in the way. */
export interface HttpProxy {
  readonly endpoint: string
  /** Requests since `reset`, in order. */
  readonly seen: SeenHttp[]
  /** Called for each request with its number since `reset`, from 0. */
  fault: (request: SeenHttp, index: number) => Fault | undefined
  /** Sends requests somewhere else from now on. */
  upstream: () => string
  reset(): void
}

export function httpProxy(upstream: () => string): HttpProxy {
  const proxy = {
    endpoint: '',
    seen: [] as SeenHttp[],
    fault: (_request: SeenHttp, _index: number): Fault | undefined => undefined,
    upstream,
    reset() {
      proxy.seen.length = 0
      proxy.fault = () => undefined
    },
  }
  const server = createServer((asked, answer) => {
    const seen = {
      method: asked.method ?? '',
      url: asked.url ?? '',
      headers: asked.headers,
      port: asked.socket.remotePort,
    }
    proxy.seen.push(seen)
    const fault = proxy.fault(seen, proxy.seen.length - 1)
    if (fault?.kind === 'reset') asked.socket.destroy()
    else if (fault?.kind === 'status') answer.writeHead(fault.status, fault.headers).end()
    else if (fault?.kind !== 'stall' || fault.after !== undefined) pass(proxy.upstream(), asked, answer, fault)
  })
  beforeAll(async () => {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    proxy.endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  })
  afterAll(() => {
    server.closeAllConnections()
    server.close()
  })
  return proxy
}

/** The request as it is, its Host header too, which is signed. */
function pass(upstream: string, asked: IncomingMessage, answer: ServerResponse, fault: Fault | undefined): void {
  const { hostname, port } = new URL(upstream)
  const { method, url, headers } = asked
  const sent = request({ hostname, port, method, path: url, headers }, (reply) => {
    if (fault?.kind === 'lost') {
      reply.resume().once('end', () => answer.destroy())
    } else if (fault === undefined) {
      answer.writeHead(reply.statusCode ?? 500, reply.headers)
      // Some servers send a body after HEAD as well, which breaks the connection that it comes by, and no answer.
      if (method === 'HEAD') answer.end()
      else reply.pipe(answer)
    } else {
      distort(reply, answer, fault)
    }
  })
  sent.on('error', () => answer.writableEnded || answer.destroy())
  asked.pipe(sent)
}

function distort(reply: IncomingMessage, answer: ServerResponse, fault: Fault): void {
  const { after = 0, kind } = fault as { after?: number; kind: Fault['kind'] }
  const headers = kind === 'short' ? { ...reply.headers, 'content-length': String(after) } : reply.headers
  answer.writeHead(reply.statusCode ?? 500, headers)
  let left = after
  reply.on('data', (chunk: Buffer) => {
    if (left > 0) answer.write(chunk.subarray(0, left))
    left -= chunk.length
    if (left > 0) return
    reply.destroy()
    if (kind === 'cut') setTimeout(() => answer.destroy(), 20)
    else if (kind === 'short') answer.end()
  })
}
