import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import type { Server } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'

/*
 * What the servers do, as found with @aws-sdk/client-s3 and lib-storage 3.1173.
 *
 *                                                    Swift 2.35       Swift 2.30 (Debian 12)   s3rver 4.0
 * signature, SHA-256 of the body, Content-MD5        verified         verified                 not verified
 * PutObject, ChecksumCRC32C                          verified         ignored                  ignored
 * CreateMultipartUpload, ChecksumAlgorithm + Type    taken, ignored   taken, ignored           taken, ignored
 * UploadPart, ChecksumCRC32C                         verified         ignored                  ignored
 *   its answer carries the checksum                  no               no                       no
 * ListParts                                          ETag and size    ETag and size            405
 * Complete: parts with ChecksumCRC32C                taken, ignored   400 MalformedXML         taken, ignored
 *   whole-object ChecksumCRC32C, ChecksumType        taken, ignored   taken, ignored           taken, ignored
 *   MpuObjectSize, If-None-Match                     taken, ignored   taken, ignored           taken, ignored
 *   a wrong ETag; parts under 5 MiB; unknown upload  refused          refused                  taken
 *   fewer parts than were uploaded                   taken            taken                    taken
 *   its answer carries a checksum                    no               no                       no
 *   sent a second time                               the same answer  the same answer          500
 * HeadObject, GetObject with ChecksumMode            no checksum      no checksum              no checksum
 * GetObjectAttributes                                not there        not there                not there
 * PutObject, If-None-Match                           501              501                      ignored
 * ListMultipartUploads, AbortMultipartUpload         yes              yes                      501, 405
 * body in shared memory (Put, UploadPart)            yes              yes                      yes
 * x-amz-content-sha256: UNSIGNED-PAYLOAD             yes              yes                      yes
 * PutObject of a stream, the SDK's defaults          yes (trailer)    501 aws-chunked          400
 *   the same with requestChecksumCalculation
 *   'WHEN_REQUIRED' and a ContentLength              yes              yes                      yes
 * lib-storage Upload: defaults or WHEN_REQUIRED,
 *   plain or ChecksumAlgorithm, 0, 1 or 3 parts      yes              yes                      yes
 *
 * So a client must leave ChecksumCRC32C out of Complete for old Swift, and compare MD5 (ETag) of parts where ListParts
 * gives no checksum. `Upload` itself sends a ChecksumCRC32C in its params with every part: never give it one. When an
 * Upload fails on s3rver, what it rejects with is the 405 of its own abort, not the cause.
 */

/** A local S3 server that belongs to one test file or one demo; loopback only, its data in the OS's temporary folder. */
export interface S3Server {
  /** With the release in it, for example `swift 2.35`. */
  name: string
  endpoint: string
  region: string
  credentials: { accessKeyId: string; secretAccessKey: string }
  /** Ends the server and removes its data. May be called twice. */
  stop(): Promise<void>
}

export type SwiftRelease = '2.35' | 'stock'

type Child = ChildProcessByStdio<Writable, Readable, Readable>

const START_TIMEOUT_MS = 30_000
const STOP_TIMEOUT_MS = 5_000
const STDERR_KEPT = 16 * 1024

const REGION = 'us-east-1'
const SWIFT_CREDENTIALS = { accessKeyId: 'test:tester', secretAccessKey: 'testing' }
const S3RVER_CREDENTIALS = { accessKeyId: 'S3RVER', secretAccessKey: 'S3RVER' }

// Debian's own python3 by path: another one may come first in PATH, and it does not see Debian's packages.
const PYTHON = '/usr/bin/python3'
const STOCK_SWIFT = '/usr/lib/python3/dist-packages'
const NEWER_SWIFT = join(import.meta.dirname, '../../.cache/swift-2.35/usr/lib/python3/dist-packages')
const LAUNCHER = join(import.meta.dirname, 'swift_s3.py')

/** OpenStack Swift with its S3 API. `stock` is the release of the machine's own Debian. */
export async function startSwift(options: { release?: SwiftRelease } = {}): Promise<S3Server> {
  const release = options.release ?? '2.35'
  if (!hasSwift(release)) throw new Error(`Swift (${release}) is not installed: run scripts/install-tools.sh`)
  const child = spawn(PYTHON, ['-W', 'ignore', LAUNCHER, '--port', '0', '--region', REGION, '--until-stdin-closes'], {
    env: { ...process.env, PYTHONPATH: release === 'stock' ? '' : NEWER_SWIFT, PYTHONDONTWRITEBYTECODE: '1' },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  const stopChild = endWithThisProcess(child)
  try {
    const { endpoint, version, dir } = JSON.parse(await firstLine(child)) as Announcement
    if (release !== 'stock' && !version.startsWith(`${release}.`)) {
      throw new Error(`expected Swift ${release}, found ${version}: run scripts/install-tools.sh`)
    }
    await answers(endpoint)
    const stop = async () => {
      await stopChild()
      await rm(dir, { recursive: true, force: true })
    }
    const name = `swift ${version.split('.').slice(0, 2).join('.')}`
    return { name, endpoint, region: REGION, credentials: SWIFT_CREDENTIALS, stop }
  } catch (error) {
    await stopChild()
    throw error
  }
}

/** In this process and from npm alone. It verifies nothing at all: good for a demo, not for a test of correctness. */
export async function startS3rver(): Promise<S3Server> {
  const S3rver = loadS3rver()
  const directory = await mkdtemp(join(tmpdir(), 's3rver-'))
  const server = new S3rver({
    address: '127.0.0.1',
    port: 0,
    directory,
    silent: true,
    vhostBuckets: false,
    allowMismatchedSignatures: true,
  })
  const { port } = await server.run()
  const stop = async () => {
    if (server.httpServer.listening) {
      const closed = server.close()
      server.httpServer.closeAllConnections()
      await closed
    }
    await rm(directory, { recursive: true, force: true })
  }
  const endpoint = `http://127.0.0.1:${port}`
  return { name: 's3rver 4.0', endpoint, region: REGION, credentials: S3RVER_CREDENTIALS, stop }
}

/**
 * A server that is running, named by `TEST_S3=http://key:secret@host:port`, for runs by hand against what is too large to
 * install for each run. Test files share it then: run them one after the other.
 */
export function givenS3(): S3Server | undefined {
  if (process.env.TEST_S3 === undefined) return undefined
  const { origin, username, password } = new URL(process.env.TEST_S3)
  const credentials = { accessKeyId: decodeURIComponent(username), secretAccessKey: decodeURIComponent(password) }
  return { name: 'given', endpoint: origin, region: REGION, credentials, stop: async () => undefined }
}

/** The best there is on this machine. */
export function startAnyS3(): Promise<S3Server> {
  if (hasSwift('2.35')) return startSwift({ release: '2.35' })
  if (hasSwift('stock')) return startSwift({ release: 'stock' })
  return startS3rver()
}

function hasSwift(release: SwiftRelease): boolean {
  const folders = release === 'stock' ? [STOCK_SWIFT] : [STOCK_SWIFT, NEWER_SWIFT]
  return existsSync(PYTHON) && folders.every((folder) => existsSync(join(folder, 'swift/__init__.py')))
}

interface S3rverInstance {
  httpServer: Server
  run(): Promise<AddressInfo>
  close(): Promise<void>
}

/** The package has no types of its own. */
function loadS3rver(): new (options: Record<string, unknown>) => S3rverInstance {
  return createRequire(import.meta.url)('@20minutes/s3rver')
}

/**
 * Twice safe: the child leaves when its stdin closes, which happens even if this process is killed, and it is signalled
 * when this process exits by itself. The returned function ends it now.
 */
function endWithThisProcess(child: Child): () => Promise<void> {
  const gone = new Promise<void>((resolve) => {
    child.once('exit', () => resolve())
    child.once('error', () => resolve())
  })
  const onExit = () => void child.kill()
  process.once('exit', onExit)
  child.stdin.on('error', () => {})
  return async () => {
    process.off('exit', onExit)
    child.stdin.end()
    child.kill()
    const ended = await Promise.race([gone.then(() => true), sleep(STOP_TIMEOUT_MS, false, { ref: false })])
    if (!ended) child.kill('SIGKILL')
    await gone
  }
}

/** What the launcher prints when it is ready, as one line of JSON. */
interface Announcement {
  endpoint: string
  version: string
  dir: string
}

/** A child that ends or stays silent before its first line has failed; its stderr says why. */
function firstLine(child: Child): Promise<string> {
  return new Promise((resolve, reject) => {
    let stdout = ''
    let stderr = ''
    const fail = (what: string) => reject(new Error(`Swift did not start: ${what}\n${stderr}`.trim()))
    const timer = setTimeout(() => fail(`not ready after ${START_TIMEOUT_MS / 1000} s`), START_TIMEOUT_MS)
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr = (stderr + text).slice(-STDERR_KEPT)
    })
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text
      const end = stdout.indexOf('\n')
      if (end < 0) return
      clearTimeout(timer)
      child.stdout.removeAllListeners('data').resume()
      resolve(stdout.slice(0, end))
    })
    child.once('error', (error) => {
      clearTimeout(timer)
      fail(error.message)
    })
    child.once('close', (code, signal) => {
      clearTimeout(timer)
      fail(`it ended with ${signal ?? `status ${code}`}`)
    })
  })
}

/** Any HTTP answer will do, a refusal too: the server speaks. */
async function answers(endpoint: string): Promise<void> {
  const deadline = Date.now() + START_TIMEOUT_MS
  for (;;) {
    try {
      const response = await fetch(endpoint, { headers: { connection: 'close' }, signal: AbortSignal.timeout(2000) })
      await response.body?.cancel()
      return
    } catch (error) {
      if (Date.now() > deadline) throw new Error(`${endpoint} does not answer`, { cause: error })
      await sleep(50)
    }
  }
}
