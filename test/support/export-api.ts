import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import createClient, { type Client } from 'openapi-fetch'
import { afterAll, beforeAll } from 'vitest'
import {
  type Caller,
  createExportService,
  type ExportService,
  type ExportServiceOptions,
  nodeListener,
} from '../../src/service/index.ts'
import type { paths } from './api-types.ts'

export type ApiClient = Client<paths>

/** Tokens, and who they stand for. */
export const callers: Readonly<Record<string, Caller>> = {
  'token-p1': { project: 'p1', roles: ['te_admin'] },
  'token-p1-reader': { project: 'p1', roles: ['reader'] },
  'token-p2': { project: 'p2', roles: ['te_admin'] },
}

export const authenticator = {
  authenticate: async (token: string) => (Object.hasOwn(callers, token) ? callers[token] : undefined),
}

export interface ApiServer {
  readonly address: string
  /** Puts another service behind the same address. */
  use(options: Omit<ExportServiceOptions, 'authenticator'> & Partial<ExportServiceOptions>): ExportService
  /** A client made from the OpenAPI document. */
  client(token?: string): ApiClient
  request(path: string, init?: RequestInit & { token?: string }): Promise<Response>
}

/** A server on a port of its own, before the tests and until after them. */
export function apiServer(): ApiServer {
  let service: ExportService | undefined
  let server: Server
  beforeAll(async () => {
    server = createServer((request, response) => nodeListener(service as ExportService)(request, response))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
  })
  afterAll(() => {
    service?.end()
    server.closeAllConnections()
    server.close()
  })
  const address = () => `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    get address() {
      return address()
    },
    use(options) {
      service = createExportService({ authenticator, ...options })
      return service
    },
    client: (token = 'token-p1') => createClient<paths>({ baseUrl: address(), headers: { 'X-Auth-Token': token } }),
    request: (path, { token = 'token-p1', headers, ...init } = {}) =>
      fetch(`${address()}${path}`, { ...init, headers: { 'X-Auth-Token': token, ...headers } }),
  }
}
