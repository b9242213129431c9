import { DiskferryError } from '../../bytes/errors.ts'
import { openRemote, type RemoteOptions } from '../remote/remote-source.ts'
import type { Source } from '../source.ts'
import { HttpTransport, loadProtocols } from './http-transport.ts'

export interface HttpSourceOptions extends RemoteOptions {
  /** Sent to the host that the URL names, and to no other. */
  headers?: Readonly<Record<string, string>> | undefined
  /** Redirects that are followed. Default 5; 0 for none. */
  maxRedirects?: number | undefined
  /** Asked before each request, for the URL and for those that it redirects to. Default: all are allowed. */
  allowUrl?: ((url: URL) => boolean) | undefined
}

const MAX_REDIRECTS = 5
const CONNECTIONS = 6

export function isHttpAddress(text: string): boolean {
  return /^https?:\/\//i.test(text)
}

/**
 * An image on a web server, read by ranged GETs; nothing else is sent, so a presigned URL for GET will do.
 * @throws DiskferryError `usage` for what is no URL; `source-unreadable` when it can't be read, or only front to back
 */
export async function httpSource(url: string | URL, options: HttpSourceOptions = {}): Promise<Source> {
  return openRemote(await httpTransport(url, options), options)
}

/** @throws DiskferryError `usage` for what is no URL */
export async function httpTransport(url: string | URL, options: HttpSourceOptions): Promise<HttpTransport> {
  const { headers = {}, maxRedirects = MAX_REDIRECTS, allowUrl = () => true, connections = CONNECTIONS } = options
  const place = parse(url)
  const protocols = await loadProtocols(connections)
  return new HttpTransport(place, protocols, { headers, maxRedirects, allowUrl, connections })
}

function parse(url: string | URL): URL {
  const text = String(url)
  if (isHttpAddress(text) && URL.canParse(text)) return new URL(text)
  throw new DiskferryError('usage', 'that is no URL of an image', { expected: 'http://… or https://…' })
}
