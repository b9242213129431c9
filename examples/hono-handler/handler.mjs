// A handler of web standards: the same function serves Hono, a Next.js route, Deno or Bun.
import { basename, join } from 'node:path'
import { Readable } from 'node:stream'
import { convertToStream, isDiskferryError } from 'diskferry'
import { Hono } from 'hono'

const { DISKS = '.' } = process.env

/** `GET(request)` is what a Next.js route exports. */
export async function GET(request) {
  const url = new URL(request.url)
  const name = basename(decodeURIComponent(url.pathname))
  try {
    const { stream, size, result } = await convertToStream({
      source: join(DISKS, name),
      to: url.searchParams.get('as') ?? 'qcow2',
      threads: 1,
      signal: request.signal,
    })
    result.catch(() => undefined) // it fails as the stream does
    const headers = {
      'Content-Type': 'application/octet-stream',
      ...(size !== undefined && { 'Content-Length': String(size) }),
    }
    return new Response(Readable.toWeb(stream), { headers })
  } catch (error) {
    if (!isDiskferryError(error)) throw error
    return Response.json({ code: error.code, message: error.message }, { status: error.code === 'usage' ? 400 : 422 })
  }
}

export const app = new Hono().get('/disks/:name', (context) => GET(context.req.raw))
