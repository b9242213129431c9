import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/*
 * A store that takes whatever it is sent and keeps nothing: what an upload costs when the store costs nothing. It answers
 * as S3 does, checksums included, but verifies nothing. Says where it is as a line of JSON; ends when its stdin closes.
 */

const ETAG = '"00000000000000000000000000000000"'
const sizes = new Map<string, number>()

const server = createServer((request, response) => {
  answer(request, response).catch((error) => response.destroy(error))
})
server.keepAliveTimeout = 60_000
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo
  console.log(JSON.stringify({ endpoint: `http://127.0.0.1:${port}` }))
})
process.stdin.resume().on('close', () => process.exit())

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost')
  const length = await drain(request)
  const checksum = request.headers['x-amz-checksum-crc32c'] as string | undefined
  if (checksum !== undefined) response.setHeader('x-amz-checksum-crc32c', checksum)
  if (request.method === 'PUT') {
    const before = searchParams.has('partNumber') ? (sizes.get(pathname) ?? 0) : 0
    sizes.set(pathname, before + length)
    response.setHeader('ETag', ETAG).end()
  } else if (request.method === 'HEAD') {
    response.setHeader('Content-Length', sizes.get(pathname) ?? 0).end()
  } else if (request.method === 'POST' && searchParams.has('uploads')) {
    sizes.set(pathname, 0)
    response.end('<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>')
  } else if (request.method === 'POST') {
    const whole = checksum === undefined ? '' : `<ChecksumCRC32C>${checksum}</ChecksumCRC32C>`
    response.end(`<CompleteMultipartUploadResult><ETag>${ETAG}</ETag>${whole}</CompleteMultipartUploadResult>`)
  } else {
    response.writeHead(request.method === 'DELETE' ? 204 : 200).end()
  }
}

/** Reads a body to its end, as fast as it comes. */
function drain(request: IncomingMessage): Promise<number> {
  return new Promise((resolve, reject) => {
    let length = 0
    request.on('data', (bytes: Buffer) => {
      length += bytes.length
    })
    request.once('end', () => resolve(length)).once('error', reject)
  })
}
