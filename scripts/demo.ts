import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { fileURLToPath } from 'node:url'
import { CreateBucketCommand, GetObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { type ConvertResult, convert, convertToStream, fileTarget, inspect, s3Target } from 'diskferry'
import { type S3Server, startAnyS3 } from '../test/support/s3-server.ts'

/*
 * npm run demo: exports a real disk, made by other people's tools, as VHD into a local S3 server, reads it back from
 * there, and compares every byte of the disk. Ends with 0 only if they are equal.
 */

/** A 64 MiB disk: GPT, ext4, 231 files. */
const IMAGE = 'fixtures/real-ext4.qcow2'
/** Of the whole disk, by the tools that made it (fixtures/README.md). */
const SHA256_OF_DISK = 'c1459e7e4dc43fba44ed3d47bb4bf100165d8d4b9bc8d3e39dd2fd6fa16feb68'
const BUCKET = 'exports'
const KEY = 'demo/real-ext4.vhd'

process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= 'true'
const folder = await mkdtemp(join(tmpdir(), 'diskferry-demo-'))
const server = await startAnyS3()
const client = clientOf(server)
try {
  const source = fileURLToPath(new URL(`../${IMAGE}`, import.meta.url))
  await introduce(source)
  const result = await upload(source)
  const downloaded = await download(result)
  process.exitCode = (await isSameDisk(source, downloaded)) ? 0 : 1
} finally {
  client.destroy()
  await server.stop()
  await rm(folder, { recursive: true, force: true })
}

async function introduce(source: string): Promise<void> {
  const { format, variant, virtualSize, storedSize } = await inspect(source)
  say('source', `${IMAGE}: ${format} ${variant}, ${mib(storedSize)} that hold a disk of ${mib(virtualSize)}`)
  say('store', `${server.name} on ${server.endpoint}`)
  await client.send(new CreateBucketCommand({ Bucket: BUCKET }))
}

/** The way a service would do it: straight into the store, without a file in between. */
async function upload(source: string): Promise<ConvertResult> {
  const target = s3Target({ client, bucket: BUCKET, key: KEY })
  const result = await convert({ source, to: 'vhd', target })
  const { location, bytesWritten, crc32c, parts, seconds } = result
  say('exported', `${location}: ${mib(bytesWritten)} in ${parts} part(s), CRC32C ${crc32c}, ${seconds.toFixed(2)} s`)
  return result
}

async function download({ bytesWritten }: ConvertResult): Promise<string> {
  const file = join(folder, 'downloaded.vhd')
  const { Body } = await client.send(new GetObjectCommand({ Bucket: BUCKET, Key: KEY }))
  await pipeline(Body as Readable, createWriteStream(file))
  const { format, variant, storedSize } = await inspect(file)
  if (storedSize !== bytesWritten) throw new Error(`the store gave ${storedSize} bytes instead of ${bytesWritten}`)
  say('read back', `${format} ${variant}, ${mib(storedSize)}`)
  return file
}

/** Compares the disk in the VHD with the one in the source, and both with what the disk's makers said. */
async function isSameDisk(source: string, downloaded: string): Promise<boolean> {
  const [before, after] = [await sha256OfDisk(source), await sha256OfDisk(downloaded)]
  say('disk before', before)
  say('disk after', after)
  await showFiles(downloaded)
  const same = before === after && after === SHA256_OF_DISK
  say('result', same ? 'equal: every byte of the disk arrived' : `DIFFERENT: expected ${SHA256_OF_DISK}`)
  return same
}

async function sha256OfDisk(image: string): Promise<string> {
  const { stream } = await convertToStream({ source: image, to: 'raw' })
  const hash = createHash('sha256')
  await pipeline(stream, hash)
  return hash.digest('hex')
}

/** With e2fsprogs at hand, what its debugfs finds in the file system of the disk that was read back. */
async function showFiles(image: string): Promise<void> {
  const disk = join(folder, 'downloaded.raw')
  await convert({ source: image, to: 'raw', target: fileTarget(disk) })
  try {
    const args = ['-R', 'ls -p /usr/share/doc/toybox', `${disk}?offset=${2 ** 20}`]
    const listing = execFileSync('debugfs', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
    const names = listing.split('\n').flatMap((line) => line.split('/')[5] ?? [])
    say('files in it', names.filter((name) => !/^\.*$/.test(name)).join(', '))
  } catch {
    say('files in it', 'not shown: there is no debugfs here')
  }
}

function clientOf({ endpoint, region, credentials }: S3Server): S3Client {
  return new S3Client({
    endpoint,
    region,
    credentials,
    forcePathStyle: true,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  })
}

function say(what: string, text: string): void {
  console.log(`${what.padEnd(12)} ${text}`)
}

function mib(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(2)} MiB`
}
