import { MiB } from '../../bytes/units.ts'
import { OutOfRequests } from '../out-of-requests.ts'
import type { Source } from '../source.ts'
import type { Identity } from './answer.ts'
import { Limiter } from './limiter.ts'
import { RangeReader } from './range-reader.ts'
import { DEFAULT_POLICY, type RetryPolicy } from './retry.ts'
import { type Load, Segments } from './segments.ts'
import type { Transport } from './transport.ts'

/** How a remote image is read. Times in milliseconds, sizes in bytes. */
export interface RemoteOptions extends Partial<RetryPolicy> {
  /** Ends all requests under way, and refuses further ones. */
  signal?: AbortSignal | undefined
  /** Requests at once. Default 6. */
  connections?: number | undefined
  /** Memory for what was read and read ahead, beside what is on its way. Default 16 MiB. */
  cacheSize?: number | undefined
}

/** Headers, tables and often the whole of a small image: most formats begin with what they are. */
const HEAD = MiB
const DEFAULT_CONNECTIONS = 6
const DEFAULT_CACHE = 16 * MiB

/**
 * An object in another place, by ranged GETs alone: the first one's answer tells size and version, and from then on the
 * object must stay what it was.
 * @throws DiskferryError `source-unreadable` when it can't be read, or only front to back
 */
export async function openRemote(transport: Transport, options: RemoteOptions): Promise<Source> {
  const closed = new AbortController()
  const signal = options.signal === undefined ? closed.signal : AbortSignal.any([options.signal, closed.signal])
  const reader = new RangeReader(transport, policyOf(options), signal)
  try {
    const head = await reader.read(0, HEAD)
    return sourceOf(transport, reader, head, options, closed)
  } catch (error) {
    transport.close()
    throw error
  }
}

function sourceOf(
  transport: Transport,
  reader: RangeReader,
  head: Uint8Array,
  { connections = DEFAULT_CONNECTIONS, cacheSize = DEFAULT_CACHE }: RemoteOptions,
  closed: AbortController,
): Source {
  const identity = reader.identity as Identity
  const limiter = new Limiter(connections)
  const load: Load = (offset, length, memory) => limiter.run(() => reader.read(offset, length, memory))
  const segments = new Segments(identity.size, cacheSize, load)
  segments.put(0, head)
  const version = identity.etag ?? identity.lastModified
  const source: Source = {
    size: identity.size,
    name: transport.name,
    ...(version !== undefined && { version }),
    read: (offset, length) => segments.read(offset, length),
    readInto: (offset, target) => segments.readInto(offset, target),
    async assertUnchanged() {
      await reader.read(0, 1)
    },
    async close() {
      closed.abort(new Error(`${transport.name} was closed`))
      transport.close()
    },
  }
  return { ...source, limited: (requests) => limitedSource(source, segments, load, requests) }
}

/** Shares what has been read. */
function limitedSource(source: Source, segments: Segments, load: Load, requests: number): Source {
  let made = 0
  const loadFew: Load = async (offset, length, memory) => {
    if (made === requests) throw new OutOfRequests(source.name, requests)
    made += 1
    return load(offset, length, memory)
  }
  return {
    ...source,
    read: (offset, length) => segments.read(offset, length, loadFew),
    readInto: (offset, target) => segments.readInto(offset, target, loadFew),
  }
}

export function policyOf(options: Partial<RetryPolicy>): RetryPolicy {
  const {
    retries = DEFAULT_POLICY.retries,
    requestTimeoutMs = DEFAULT_POLICY.requestTimeoutMs,
    stallTimeoutMs = DEFAULT_POLICY.stallTimeoutMs,
  } = options
  return { retries, requestTimeoutMs, stallTimeoutMs }
}
