// node main.mjs URL TARGET: an image that lies behind a URL, as a source of one's own. For a plain web server there is
// `httpSource`; this is how to go about whatever else gives bytes by offset: a block device's API, NBD, another store.
import { setTimeout as pause } from 'node:timers/promises'
import { convert } from 'diskferry'

const TRIES = 4
const TIMEOUT_MS = 30_000

/** Any object with `size` and `read` is a source. Reads may come at once: the store sees as many requests. */
async function httpSource(url) {
  const response = await fetch(url, { method: 'HEAD', signal: AbortSignal.timeout(TIMEOUT_MS) })
  const size = Number(response.headers.get('content-length'))
  if (!response.ok || !Number.isSafeInteger(size))
    throw new Error(`${url} answered ${response.status}, of ${size} bytes`)
  const etag = response.headers.get('etag')
  return {
    size,
    name: url,
    read: (offset, length) => readRange(url, offset, length, etag),
  }
}

/** `If-Match`, where there is an ETag: bytes of two versions must not be mixed. */
async function readRange(url, offset, length, etag) {
  const headers = { Range: `bytes=${offset}-${offset + length - 1}`, ...(etag && { 'If-Match': etag }) }
  for (let left = TRIES - 1; ; left--) {
    try {
      const response = await fetch(url, { headers, signal: AbortSignal.timeout(TIMEOUT_MS) })
      if (response.status !== 206) throw new Error(`${url} answered ${response.status} instead of 206`)
      return new Uint8Array(await response.arrayBuffer())
    } catch (error) {
      if (left === 0) throw error
      await pause(200 * 2 ** (TRIES - left))
    }
  }
}

const [url, target] = process.argv.slice(2)
const { location, crc32c, dataBytes } = await convert({ source: await httpSource(url), to: 'qcow2', target })
console.log(`${location}: ${dataBytes} bytes of data, CRC-32C ${crc32c}`)
