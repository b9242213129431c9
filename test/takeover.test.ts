import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { CreateBucketCommand, CreateMultipartUploadCommand, UploadPartCommand } from '@aws-sdk/client-s3'
import { type Context, ROOT_CONTEXT, type Span, type SpanOptions, type Tracer, trace } from '@opentelemetry/api'
import { transform } from 'esbuild'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createPool, type Pool } from '../src/index.ts'
import { exportRunner, type ImageCatalog, JobCancelled, type JobRunner, s3Targets } from '../src/service/index.ts'
import { goodImage } from './support/export-cases.ts'
import { someJob } from './support/job-queue-suite.ts'
import { blocksOf, page } from './support/markdown.ts'
import { root, runNode } from './support/run-node.ts'
import { clientOf, onRequest, testBucket } from './support/s3-bucket.ts'

const bucket = testBucket()
const catalog: ImageCatalog = {
  find: async () => goodImage,
  async *list() {
    yield goodImage
  },
  source: async () => ({ source: new Uint8Array(1024 * 1024).fill(7) }),
}
let pool: Pool
let run: JobRunner

beforeAll(() => {
  pool = createPool({ threads: 0 })
  run = exportRunner({ catalog, targets: s3Targets({ client: bucket.client }), pool })
})
afterAll(() => pool.close())

/** What a worker leaves that is killed while it uploads. */
async function leaveUpload(Key: string): Promise<void> {
  const where = { Bucket: bucket.name, Key }
  const { UploadId } = await bucket.client.send(new CreateMultipartUploadCommand(where))
  await bucket.client.send(
    new UploadPartCommand({ ...where, UploadId, PartNumber: 1, Body: Buffer.alloc(5 * 2 ** 20) }),
  )
}

const context = (attempt: number, signal = new AbortController().signal) => ({
  attempt,
  signal,
  report: () => undefined,
})

describe('an attempt after one whose worker died', () => {
  it('aborts the upload that is left, and nobody else’s', async () => {
    const job = someJob({ image: goodImage, bucket: bucket.name })
    await leaveUpload(job.key)
    await leaveUpload(`${job.key}.of-another`)
    await run(job, context(2))
    expect(await bucket.openUploads()).toEqual([`${job.key}.of-another`])
    expect(await bucket.keys()).toContain(job.key)
  })

  it('leaves nothing where the job was cancelled meanwhile', async () => {
    const job = someJob({ image: goodImage, bucket: bucket.name })
    await leaveUpload(job.key)
    await expect(run(job, context(2, AbortSignal.abort(new JobCancelled())))).rejects.toBeInstanceOf(JobCancelled)
    expect(await bucket.openUploads()).not.toContain(job.key)
    expect(await bucket.keys()).not.toContain(job.key)
  })

  it('takes the object that the last one finished for its own', async () => {
    const job = someJob({ image: goodImage, bucket: bucket.name })
    const first = await run(job, context(1))
    const { crc32c: _, ...known } = first
    expect(await run(job, context(2))).toEqual(known)
  })
})

describe('an attempt as spans', () => {
  interface Recorded {
    readonly name: string
    readonly parent: string | undefined
    readonly attributes: Record<string, unknown>
    status?: { readonly code: number; readonly message?: string }
    ended: boolean
  }
  const spans: Recorded[] = []

  /** As much of a tracer as keeps what it is told. */
  function startSpan(name: string, { attributes = {} }: SpanOptions = {}, parent: Context = ROOT_CONTEXT): Span {
    const of = trace.getSpan(parent) as unknown as { recorded: Recorded } | undefined
    const recorded: Recorded = { name, parent: of?.recorded.name, attributes, ended: false }
    spans.push(recorded)
    const span = {
      recorded,
      setAttribute: (key: string, value: unknown) => Object.assign(attributes, { [key]: value }),
      setStatus: (status: Recorded['status']) => Object.assign(recorded, { status }),
      end: () => Object.assign(recorded, { ended: true }),
    }
    return span as unknown as Span
  }

  beforeAll(async () => {
    const program = blocksOf(page('docs/service.md'), 'ts').find((text) => text.includes('traceExports')) ?? ''
    const { code } = await transform(program, { loader: 'ts', format: 'esm' })
    await mkdir(join(root, '.cache'), { recursive: true })
    const file = join(root, '.cache/trace-exports.mjs')
    await writeFile(file, code)
    trace.setGlobalTracerProvider({ getTracer: () => ({ startSpan }) as unknown as Tracer })
    const { traceExports } = (await import(pathToFileURL(file).href)) as { traceExports: () => void }
    traceExports()
  })

  it('is told of with its phases, as the page says', async () => {
    const job = someJob({ image: goodImage, bucket: bucket.name })
    const { size } = await run(job, context(1))
    const attributes = { 'job.id': job.id, 'job.attempt': 1, 'object.size': size }
    expect(spans.splice(0)).toMatchObject([
      { name: 'export', parent: undefined, attributes, ended: true },
      { name: 'survey', parent: 'export', ended: true },
      { name: 'transfer', parent: 'export', ended: true },
      { name: 'finish', parent: 'export', ended: true },
    ])
  })

  it('says why it failed', async () => {
    const job = someJob({ image: goodImage, bucket: 'no-such-bucket' })
    await expect(run(job, context(1))).rejects.toThrow()
    expect(spans.splice(0)[0]).toMatchObject({
      ended: true,
      status: { code: 2, message: expect.stringContaining('does not exist') },
    })
  })
})

it('asks for a bucket that is there once, and again for one that was not', async () => {
  const asked: unknown[] = []
  const client = onRequest(clientOf(bucket.server), ({ command, input }) => {
    if (command === 'HeadBucketCommand') asked.push(input.Bucket)
  })
  const targets = s3Targets({ client })
  const accessible = async (name: string) => (await (await targets.resolve(name, 'p1')).facts()).accessible
  expect(await Promise.all([1, 2, 3].map(() => accessible(bucket.name)))).toEqual([true, true, true])
  expect(await accessible(bucket.name)).toBe(true)
  expect(await accessible('later')).toBe(false)
  await bucket.client.send(new CreateBucketCommand({ Bucket: 'later' }))
  expect(await accessible('later')).toBe(true)
  expect(asked).toEqual([bucket.name, 'later', 'later'])
  client.destroy()
})

it('the service loads neither BullMQ nor a client of Redis until a fleet is asked for', async () => {
  const loaded = `(await import('node:module')).default._cache`
  const script = (more: string) => `
    await import('./dist/index.js')
    await import('./dist/service/index.js')
    ${more}
    console.log(Object.keys(${loaded}).some((path) => /ioredis|bullmq/.test(path)))`
  const said = async (more: string) => {
    const { stdout } = await runNode(['--input-type=module', '-e', script(more)])
    return stdout.toString().trim()
  }
  expect(await said('')).toBe('false')
  expect(await said(`await import('ioredis')`)).toBe('true')
})
