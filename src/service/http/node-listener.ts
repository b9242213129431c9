import type { IncomingMessage, ServerResponse } from 'node:http'
import { getRequestListener } from '@hono/node-server'
import type { ExportService } from '../export-service.ts'

/** The service as a listener for Node's own servers, and for whatever is built on them. The globals stay as they are. */
export function nodeListener({ fetch }: ExportService): (request: IncomingMessage, response: ServerResponse) => void {
  const listener = getRequestListener(fetch, { overrideGlobalObjects: false })
  return (request, response) => void listener(request, response)
}
