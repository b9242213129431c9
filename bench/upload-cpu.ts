import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { S3Client } from '@aws-sdk/client-s3'
import { crc32c } from '../src/bytes/crc32c.ts'
import { s3Target } from '../src/index.ts'
import { drainStore } from './stores.ts'

/*
 * CPU seconds that this process spends on an upload, by getrusage, into a store that keeps nothing: parts from memory, whose
 * checksums are known, so that it is the upload alone. Prints JSON. usage:
 * upload-cpu.ts [--mib 1024] [--part 16] [--https]
 */

const MiB = 2 ** 20
const { values } = parseArgs({
  options: {
    mib: { type: 'string', default: '1024' },
    part: { type: 'string', default: '16' },
    https: { type: 'boolean', default: false },
  },
})
const size = Number(values.mib) * MiB
const partSize = Number(values.part) * MiB

const store = await (values.https ? drainByHttps() : drainStore())
const client = new S3Client({
  endpoint: store.env.AWS_ENDPOINT_URL_S3 as string,
  region: 'us-east-1',
  credentials: { accessKeyId: 'any', secretAccessKey: 'any' },
  forcePathStyle: true,
  requestChecksumCalculation: 'WHEN_REQUIRED',
})
const chunk = Buffer.from(new SharedArrayBuffer(MiB)).fill(7)
const crc = crc32c(chunk)

const target = s3Target({ client, bucket: store.bucket, key: 'cpu', partSize, concurrency: 4, overwrite: true })
const sink = await target.open({ size, sizeAtMost: size })
if (sink.kind !== 'stream') throw new Error('S3 is a stream')
const before = process.resourceUsage()
const held: Promise<void>[] = []
for (let offset = 0; offset < size; offset += MiB) {
  held.push(sink.write({ offset, bytes: chunk, crc32c: crc }))
  if (held.length * MiB >= 5 * partSize) await held.shift()
}
sink.end()
await Promise.all(held)
const after = process.resourceUsage()
await sink.abort(undefined).catch(() => undefined)
await store.stop()

const seconds = (after.userCPUTime - before.userCPUTime + after.systemCPUTime - before.systemCPUTime) / 1e6
console.log(
  JSON.stringify({
    mib: size / MiB,
    partMib: partSize / MiB,
    scheme: values.https ? 'https' : 'http',
    cpuSeconds: Number(seconds.toFixed(3)),
    cpuSecondsPerGiB: Number(((seconds * 1024 * MiB) / size).toFixed(3)),
    node: process.version,
  }),
)

/** With a certificate made on the spot, which nobody signed. */
async function drainByHttps() {
  process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'
  const folder = mkdtempSync(join(tmpdir(), 'diskferry-upload-'))
  const [key, certificate] = [join(folder, 'key.pem'), join(folder, 'certificate.pem')]
  const request = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=127.0.0.1']
  execFileSync('openssl', [...request, '-keyout', key, '-out', certificate], { stdio: 'ignore' })
  const store = await drainStore(key, certificate)
  rmSync(folder, { recursive: true })
  return store
}
