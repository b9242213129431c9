import type { Limits } from '../limits.ts'
import { ApiError } from './api-error.ts'

const tooLarge = (limit: number) => new ApiError(400, 'IMG.0001', `the body has more than ${limit} bytes`)
const tooSlow = (seconds: number) => new ApiError(400, 'IMG.0001', `the body did not arrive within ${seconds} seconds`)

/** A request's body, as far as its size and the time it takes are bearable. */
export async function readText(request: Request, { bodyBytes, bodySeconds }: Limits): Promise<string> {
  if (Number(request.headers.get('Content-Length') ?? 0) > bodyBytes) throw tooLarge(bodyBytes)
  if (request.body === null) return ''
  const reader = request.body.getReader()
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(tooSlow(bodySeconds)), bodySeconds * 1000)
  })
  try {
    return await Promise.race([collect(reader, bodyBytes), late])
  } catch (error) {
    reader.cancel(error).catch(() => undefined)
    throw error instanceof ApiError ? error : new ApiError(400, 'IMG.0001', 'the body could not be read')
  } finally {
    clearTimeout(timer)
  }
}

async function collect(reader: ReadableStreamDefaultReader<Uint8Array>, limit: number): Promise<string> {
  const chunks: Uint8Array[] = []
  let length = 0
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return Buffer.concat(chunks).toString('utf8')
    length += value.length
    if (length > limit) throw tooLarge(limit)
    chunks.push(value)
  }
}
