import type { Agent, IncomingMessage, RequestOptions } from 'node:http'
import { DiskferryError } from '../../bytes/errors.ts'
import type { RangeAnswer, RangeRequest, Transport } from '../remote/transport.ts'

export interface HttpTransportOptions {
  readonly headers: Readonly<Record<string, string>>
  readonly maxRedirects: number
  readonly allowUrl: (url: URL) => boolean
  readonly connections: number
}

type Send = (
  url: URL,
  options: RequestOptions,
  answered: (answer: IncomingMessage) => void,
) => NodeJS.EventEmitter & {
  end(): void
}

/** A protocol, by Node's own client, which hands bodies over as they lie on the wire. */
interface Protocol {
  readonly send: Send
  readonly agent: Agent
}

const REDIRECTS = new Set([301, 302, 303, 307, 308])
/** A place that a redirect led to may be good for a while only. */
const EXPIRED = new Set([401, 403, 404, 410])

export class HttpTransport implements Transport {
  readonly name: string
  readonly #named: URL
  /** Where the redirects led to, so that they are followed once. */
  #found: URL | undefined
  readonly #options: HttpTransportOptions
  readonly #protocols: Readonly<Record<string, Protocol>>

  constructor(url: URL, protocols: Readonly<Record<string, Protocol>>, options: HttpTransportOptions) {
    this.#named = url
    this.name = withoutSecrets(url)
    this.#protocols = protocols
    this.#options = options
  }

  async get(request: RangeRequest): Promise<RangeAnswer> {
    if (this.#found !== undefined) {
      const answer = await this.#send(this.#found, request)
      if (!EXPIRED.has(answer.statusCode ?? 0) && !isRedirect(answer)) return describe(answer)
      answer.destroy()
      this.#found = undefined
    }
    return describe(await this.#follow(request))
  }

  async #follow(request: RangeRequest): Promise<IncomingMessage> {
    for (let url = this.#named, left = this.#options.maxRedirects; ; left--) {
      const answer = await this.#send(url, request)
      if (!isRedirect(answer)) {
        if (url !== this.#named) this.#found = url
        return answer
      }
      answer.destroy()
      url = this.#next(url, answer.headers.location as string, left)
    }
  }

  #next(from: URL, location: string, left: number): URL {
    const to = URL.canParse(location, from.href) ? new URL(location, from.href) : undefined
    const allowed =
      to !== undefined && (to.protocol === 'https:' || (to.protocol === 'http:' && from.protocol === 'http:'))
    if (allowed && left > 0) return to
    const found = to === undefined ? 'no URL' : withoutSecrets(to)
    const expected = allowed ? 'fewer redirects' : 'http or https, and no step from https down to http'
    throw new DiskferryError('source-unreadable', `${this.name} redirects to ${found}, which is not followed`, {
      found,
      expected,
    })
  }

  /** What the caller sends along is for the host that the caller named. */
  #send(url: URL, { offset, length, ifMatch, signal }: RangeRequest): Promise<IncomingMessage> {
    if (!this.#options.allowUrl(url)) throw this.#forbidden(url)
    const { send, agent } = this.#protocols[url.protocol] as Protocol
    const headers = {
      ...(url.origin === this.#named.origin && { ...credentialsOf(this.#named), ...this.#options.headers }),
      range: `bytes=${offset}-${Number.isFinite(length) ? offset + length - 1 : ''}`,
      'accept-encoding': 'identity',
      ...(ifMatch !== undefined && { 'if-match': ifMatch }),
    }
    return new Promise((resolve, reject) => {
      const sent = send(withoutUser(url), { agent, headers, signal }, resolve)
      sent.on('error', reject)
      sent.end()
    })
  }

  #forbidden(url: URL): DiskferryError {
    const found = withoutSecrets(url)
    return new DiskferryError('source-unreadable', `${found} may not be read: the caller forbids it`, { found })
  }

  close(): void {
    for (const { agent } of Object.values(this.#protocols)) agent.destroy()
  }
}

/** Node's clients for both protocols, each with its own connections, kept open between requests. */
export async function loadProtocols(connections: number): Promise<Record<string, Protocol>> {
  const [http, https] = await Promise.all([import('node:http'), import('node:https')])
  const options = { keepAlive: true, maxSockets: connections }
  return {
    'http:': { send: http.request, agent: new http.Agent(options) },
    'https:': { send: https.request, agent: new https.Agent(options) },
  }
}

function isRedirect({ statusCode = 0, headers }: IncomingMessage): boolean {
  return REDIRECTS.has(statusCode) && headers.location !== undefined
}

function describe(answer: IncomingMessage): RangeAnswer {
  const { statusCode = 0, headers } = answer
  const length = headers['content-length']
  return {
    status: statusCode,
    contentRange: headers['content-range'],
    contentLength: length === undefined ? undefined : Number(length),
    etag: headers.etag,
    lastModified: headers['last-modified'],
    retryAfter: headers['retry-after'],
    body: answer,
  }
}

/** Signatures lie in the query, passwords before the host: neither belongs into a message. */
export function withoutSecrets(url: URL): string {
  return `${url.origin}${url.pathname}`
}

function withoutUser(url: URL): URL {
  const plain = new URL(url)
  plain.username = ''
  plain.password = ''
  return plain
}

function credentialsOf({ username, password }: URL): Record<string, string> {
  if (username === '' && password === '') return {}
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`
  return { authorization: `Basic ${Buffer.from(pair).toString('base64')}` }
}
