import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { z } from 'zod'
import type { Limits } from '../limits.ts'

/** A host, or an IPv6 address in brackets, and a port. */
const ADDRESS = /^(?:\[([0-9A-Fa-f:.]+)\]|([^\s:[\]]+)):(\d{1,5})$/

export const addressSchema = z
  .string()
  .regex(ADDRESS, 'an address such as 127.0.0.1:9090 or [::1]:9090')
  .refine((text) => parseAddress(text).port <= 65_535, 'a port up to 65535')

export interface Place {
  readonly host: string
  readonly port: number
}

/** Of a text that `addressSchema` takes. */
export function parseAddress(address: string): Place {
  const [, v6, name = '', port] = ADDRESS.exec(address) ?? []
  return { host: v6 ?? name, port: Number(port) }
}

export interface Listener {
  /** `http://127.0.0.1:8080`, with the port that was got where any would do. */
  readonly address: string
  /** Ends every connection. */
  close(): Promise<void>
}

type Answer = (request: Request) => Promise<Response>

/** A server with limits for what comes before a request is there. Rejects with Node's error where it can't listen. */
export async function listen(fetch: Answer, { host, port }: Place, limits: Limits): Promise<Listener> {
  const { createAdaptorServer } = await import('@hono/node-server')
  const server = createAdaptorServer({ fetch, serverOptions: serverOptions(limits) }) as Server
  server.listen(port, host)
  await once(server, 'listening')
  const { port: bound } = server.address() as AddressInfo
  return {
    address: `http://${host.includes(':') ? `[${host}]` : host}:${bound}`,
    async close() {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

function serverOptions({ headerBytes, headerSeconds, bodySeconds }: Limits) {
  return {
    maxHeaderSize: headerBytes,
    headersTimeout: headerSeconds * 1000,
    requestTimeout: (headerSeconds + bodySeconds) * 1000,
    keepAliveTimeout: 5_000,
    connectionsCheckingInterval: 1_000,
  }
}
