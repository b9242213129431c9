import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'

/*
 * A store that takes whatever it is sent and keeps nothing: what an upload costs when the store costs nothing. It answers
 * as S3 does, checksums included, but verifies nothing. Says where it is as a line of JSON; ends when its stdin closes.
 * usage: drain-s3.ts [KEY CERTIFICATE], which are files, for https
 */

const ETAG = '"00000000000000000000000000000000"'
const sizes = new Map<string, number>()
/** Bytes of parts that came for an object which is not there yet. */
const arriving = new Map<string, number>()

const [key, cert] = process.argv.slice(2).map((file) => readFileSync(file))
const listener = (request: IncomingMessage, response: ServerResponse) => {
  answer(request, response).catch((error) => response.destroy(error))
}
const server = key === undefined ? createServer(listener) : createTlsServer({ key, cert }, listener)
server.keepAliveTimeout = 60_000
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo
  console.log(JSON.stringify({ endpoint: `${key === undefined ? 'http' : 'https'}://127.0.0.1:${port}` }))
})
process.stdin.resume().on('close', () => process.exit())

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost')
  const length = await drain(request)
  const checksum = request.headers['x-amz-checksum-crc32c'] as string | undefined
  if (checksum !== undefined) response.setHeader('x-amz-checksum-crc32c', checksum)
  if (request.method === 'PUT') {
    if (searchParams.has('partNumber')) arriving.set(pathname, (arriving.get(pathname) ?? 0) + length)
    else sizes.set(pathname, length)
    response.setHeader('ETag', ETAG).end()
  } else if (request.method === 'HEAD') {
    const size = sizes.get(pathname)
    if (size === undefined) response.writeHead(404, { 'Content-Length': 0 }).end()
    else response.setHeader('Content-Length', size).end()
  } else if (request.method === 'POST' && searchParams.has('uploads')) {
    arriving.set(pathname, 0)
    response.end('<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>')
  } else if (request.method === 'POST') {
    sizes.set(pathname, arriving.get(pathname) ?? 0)
    const whole = checksum === undefined ? '' : `<ChecksumCRC32C>${checksum}</ChecksumCRC32C>`
    response.end(`<CompleteMultipartUploadResult><ETag>${ETAG}</ETag>${whole}</CompleteMultipartUploadResult>`)
  } else {
    if (request.method === 'DELETE') sizes.delete(pathname)
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
