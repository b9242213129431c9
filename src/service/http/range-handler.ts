import { MiB } from '../../bytes/units.ts'
import type { ConvertedView } from '../../pipeline/converted-view.ts'
import { parseRange } from './byte-range.ts'

/** Bytes made at once for a download: large enough to hide what a task costs, small enough for many downloads. */
const CHUNK = MiB

/**
 * Answers GET and HEAD with a view's bytes, or the range of them that is asked for. A fetch-style handler, for whatever
 * server: Hono, Deno, Bun, Next, or an adapter on `node:http`.
 */
export function rangeHandler(view: ConvertedView): (request: Request) => Promise<Response> {
  const etag = `${view.isVersionStrong ? '' : 'W/'}"${view.version}"`
  const common = { 'accept-ranges': 'bytes', etag }
  return async (request) => {
    const { method, headers } = request
    if (method !== 'GET' && method !== 'HEAD')
      return new Response(null, { status: 405, headers: { allow: 'GET, HEAD' } })
    if (isAmong(headers.get('if-none-match'), etag)) return new Response(null, { status: 304, headers: common })
    const range = mayHaveRange(method, headers, etag) ? parseRange(headers.get('range'), view.size) : undefined
    if (range === 'unsatisfiable') {
      return new Response(null, { status: 416, headers: { ...common, 'content-range': `bytes */${view.size}` } })
    }
    const { start, end } = range ?? { start: 0, end: view.size }
    const found = {
      ...common,
      'content-type': 'application/octet-stream',
      'content-length': String(end - start),
      ...(range !== undefined && { 'content-range': `bytes ${start}-${end - 1}/${view.size}` }),
    }
    const body = method === 'HEAD' ? null : bodyOf(view, start, end)
    return new Response(body, { status: range === undefined ? 200 : 206, headers: found })
  }
}

/** RFC 9110, 13.1.5: a range counts only for the very version that the client has; a weak tag never is that. */
function mayHaveRange(method: string, headers: Headers, etag: string): boolean {
  const condition = headers.get('if-range')
  return method === 'GET' && (condition === null || (condition === etag && !etag.startsWith('W/')))
}

/** 13.1.2: compared weakly. */
function isAmong(list: string | null, etag: string): boolean {
  const plain = (tag: string) => tag.trim().replace(/^W\//, '')
  return list !== null && (list.trim() === '*' || list.split(',').some((tag) => plain(tag) === plain(etag)))
}

/** Pulled, so that no more than a chunk is made ahead of a slow client. A source that changed breaks the answer off. */
function bodyOf(view: ConvertedView, start: number, end: number): ReadableStream<Uint8Array> {
  let at = start
  const next = () => {
    const made = Promise.resolve(view.read(at, Math.min(CHUNK, end - at)))
    at = Math.min(end, at + CHUNK)
    made.catch(() => undefined)
    return made
  }
  let ahead: Promise<Uint8Array> | undefined
  return new ReadableStream(
    {
      async pull(controller) {
        const made = ahead ?? next()
        const isLast = at >= end
        ahead = isLast ? undefined : next()
        const bytes = await made
        if (isLast) await view.assertUnchanged()
        if (bytes.length > 0) controller.enqueue(bytes)
        if (isLast) controller.close()
      },
    },
    { highWaterMark: 0 },
  )
}
