import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { policyFrom } from '../src/rules/index.ts'
import {
  type ExportServiceOptions,
  type ImageCatalog,
  type JobQueue,
  type JobRunner,
  openLocalQueue,
  s3Targets,
  type TargetResolver,
} from '../src/service/index.ts'
import { apiTypes } from './support/api-document.ts'
import { apiServer } from './support/export-api.ts'
import { allowedCases, type ExportCase, exportCases, goodBody, goodImage, partsOf } from './support/export-cases.ts'
import { someJob } from './support/job-queue-suite.ts'
import { testBucket } from './support/s3-bucket.ts'
import { tempFolder } from './support/temp-folder.ts'
import { runTool } from './support/tools.ts'

const bucket = testBucket()
const server = apiServer()
const queues: JobQueue[] = []
const file = tempFolder()
const path = '/v1/cloudimages/{image_id}/file'

/** Runs for ever, until it is stopped. */
const endless: JobRunner = (_, { signal }) =>
  new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }))

const emptyDisk = new Uint8Array(4096)

function catalogOf(image: ReturnType<typeof partsOf>['image']): ImageCatalog {
  return {
    find: async (id) => (id === image?.id ? image : undefined),
    async *list() {
      if (image !== undefined) yield image
    },
    source: async () => ({ source: emptyDisk }),
  }
}

/** The store's own answers, but for what a case says of the bucket. */
function targetsOf(said: ExportCase['bucket'] = {}): TargetResolver {
  const real = s3Targets({ client: bucket.client })
  return {
    async resolve(name, project) {
      const found = await real.resolve(name, project)
      const { objectExists, ...facts } = said
      const head = objectExists ? async () => ({ size: 1, etag: undefined, metadata: {} }) : found.head
      return { ...found, head, facts: async () => ({ ...(await found.facts()), ...facts }) }
    },
  }
}

async function serve(example: Omit<ExportCase, 'rule' | 'code'>, more: Partial<ExportServiceOptions> = {}) {
  const { jobs = {}, policy = {} } = example
  const queue = await openLocalQueue({ run: endless, mostUnfinished: jobs.tooMany ? 1 : 100 })
  queues.push(queue)
  if (jobs.tooMany) await queue.submit(someJob())
  if (jobs.imageClaimed) await queue.submit(someJob({ image: goodImage }))
  const catalog = catalogOf(partsOf(example).image)
  const targets = targetsOf(example.bucket)
  return server.use({ catalog, targets, queue, policy: policyFrom(policy), limits: { cancelSeconds: 0 }, ...more })
}

afterEach(async () => {
  for (const queue of queues.splice(0)) await queue.close()
})

/** Sends the case's body through the generated client, as it is. */
function send(example: Omit<ExportCase, 'rule' | 'code'>, query?: { dry_run: 'true' }) {
  const token = example.roles === undefined ? 'token-p1' : 'token-p1-reader'
  return server.client(token).POST(path, {
    params: {
      path: { image_id: goodImage.id },
      header: { 'X-Auth-Token': token },
      ...(query && { query }),
    },
    body: goodBody as { bucket_url: string; file_format: 'vhd' },
    bodySerializer: () => partsOf(example).text,
    headers: { 'Content-Type': 'application/json' },
  })
}

describe('every rule, over HTTP', () => {
  it.each(exportCases)('$rule ($as) is $code', async (example) => {
    await serve(example)
    const { error, response } = await send(example)
    expect(response.status).toBe(example.status ?? 400)
    expect(error).toEqual({ error: { code: expect.any(String), message: expect.stringMatching(/\S/) } })
    const codes = [example, ...exportCases.filter(({ rule }) => example.also?.includes(rule))].map(({ code }) => code)
    expect(codes).toContain(error?.error.code)
  })

  it.each(allowedCases)('$as is accepted', async (example) => {
    await serve(example)
    const { data, response } = await send(example)
    expect(response.status).toBe(200)
    expect(data).toEqual({ job_id: expect.stringMatching(/^[0-9a-f]{32}$/) })
  })

  it('says all that is wrong in one message', async () => {
    const example = { as: 'much', image: { status: 'queued', __whole_image: true }, body: { file_format: 'zip' } }
    await serve(example)
    const { error } = await send(example)
    expect(error?.error.code).toBe('IMG.0072')
    for (const word of ['file_format', 'status', '__whole_image']) expect(error?.error.message).toContain(word)
  })
})

describe('a dry run', () => {
  it('says what would keep an export from being accepted, and begins nothing', async () => {
    const example = { as: 'much', image: { status: 'queued', __backup_id: 'b' }, body: { file_format: 'zip' } }
    await serve(example)
    const { data, response } = await send(example, { dry_run: 'true' })
    expect(response.status).toBe(200)
    expect(data).toMatchObject({
      exportable: false,
      violations: [{ code: 'IMG.0072' }, { code: 'IMG.0046' }, { code: 'IMG.0080' }],
    })
    await serve({ as: 'good' })
    expect((await send({ as: 'good' }, { dry_run: 'true' })).data).toEqual({ exportable: true, violations: [] })
    expect(await queues.at(-1)?.counts()).toEqual({ waiting: 0, running: 0 })
  })

  it('tells of the file itself', async () => {
    const backed = file('backed.qcow2')
    await runTool('qemu-img', ['create', '-q', '-f', 'qcow2', '-u', '-b', '/etc/shadow', '-F', 'raw', backed, '1M'])
    const catalog = { ...catalogOf(goodImage), source: async () => ({ source: backed }) }
    await serve({ as: 'good' }, { catalog })
    const { data } = await send({ as: 'good' }, { dry_run: 'true' })
    expect(data).toMatchObject({ exportable: false, violations: [{ rule: 'no-backing-file', code: 'IMG.0071' }] })
  })
})

describe('every status', () => {
  const get = { params: { path: { job_id: '0'.repeat(32) }, header: { 'X-Auth-Token': 'token-p1' } } }

  it.each(['', 'no-such-token', 'x'.repeat(9000), '__proto__'])('401 for the token %j', async (token) => {
    await serve({ as: 'good' })
    for (const url of [`/v1/cloudimages/${goodImage.id}/file`, '/v1/p1/jobs', '/v1/cloudimages', '/v1/nothing']) {
      const answer = await server.request(url, { token, method: url.endsWith('file') ? 'POST' : 'GET' })
      expect(answer.status).toBe(401)
      expect(await answer.json()).toEqual({ error: { code: 'DFY.0401', message: 'authentication failed' } })
    }
  })

  it('403 without the role, whatever the image and the body', async () => {
    await serve({ as: 'good' })
    const answers = await Promise.all(
      [goodImage.id, 'no-such-image', '..%2f..%2fetc'].map(async (id) => {
        const answer = await server.request(`/v1/cloudimages/${id}/file`, {
          token: 'token-p1-reader',
          method: 'POST',
          body: '{',
        })
        return { status: answer.status, text: await answer.text() }
      }),
    )
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1)
    expect(answers[0]?.status).toBe(403)
  })

  it('404 for a job and a route that there are not', async () => {
    await serve({ as: 'good' })
    const { error, response } = await server.client().GET('/v1/cloudimages/job/{job_id}', get)
    expect(response.status).toBe(404)
    expect(error?.error.code).toBe('DFY.0404')
    expect((await server.request('/nowhere')).status).toBe(404)
    expect((await server.request('/v1/cloudimages/job/..%2f..')).status).toBe(404)
  })

  it('500 for a defect, which it does not describe', async () => {
    const catalog = { ...catalogOf(goodImage), find: () => Promise.reject(new TypeError('/secret')) }
    await serve({ as: 'good' }, { catalog })
    const { error, response } = await send({ as: 'good' })
    expect(response.status).toBe(500)
    expect(error?.error).toEqual({ code: 'IMG.0061', message: 'something unforeseen went wrong' })
  })

  it('503 while it ends, while tokens can’t be checked, and while the store can’t be reached', async () => {
    await serve({ as: 'good' })
    await queues.at(-1)?.close()
    expect((await send({ as: 'good' })).response.status).toBe(503)
    expect((await server.request('/ready')).status).toBe(503)
    await serve({ as: 'good' }, { authenticator: { authenticate: () => Promise.reject(new Error('down')) } })
    expect((await send({ as: 'good' })).response.status).toBe(503)
    const { DiskferryError } = await import('../src/index.ts')
    const down = () => Promise.reject(new DiskferryError('target-failed', 'down'))
    const resolver: TargetResolver = {
      resolve: async () => ({ facts: down, head: down, abortUploads: down, target: () => down() as never }),
    }
    await serve({ as: 'good' }, { targets: resolver })
    const { response } = await send({ as: 'good' })
    expect([response.status, response.headers.get('Retry-After')]).toEqual([503, '5'])
  })

  it('400 with IMG.0060 for more requests than a project may send, which costs no other project anything', async () => {
    await serve({ as: 'good' }, { limits: { burst: 3, requestsPerSecond: 0.01 } })
    const ask = (token: string) => server.request('/v1/p1/jobs', { token })
    for (let i = 0; i < 3; i++) expect((await ask('token-p1')).status).toBe(200)
    const refused = await ask('token-p1')
    expect(refused.status).toBe(400)
    expect(await refused.json()).toMatchObject({ error: { code: 'IMG.0060' } })
    expect(Number(refused.headers.get('Retry-After'))).toBeGreaterThan(0)
    expect((await ask('token-p2')).status).toBe(403)
  })
})

describe('the store itself', () => {
  beforeAll(() => bucket.put('there.vhd', Buffer.from('mine')))

  it('has no such bucket: IMG.0069', async () => {
    const example = { as: 'no bucket', body: { bucket_url: 'no-such-bucket:a.vhd' } }
    await serve(example)
    expect((await send(example)).error?.error.code).toBe('IMG.0069')
  })

  it('has the object already: IMG.0070', async () => {
    const example = { as: 'there', body: { bucket_url: `${bucket.name}:there.vhd` } }
    await serve(example)
    expect((await send(example)).error?.error.code).toBe('IMG.0070')
  })
})

it('has a client whose types are those that the document gives now', async () => {
  expect(await readFile(join(import.meta.dirname, 'support/api-types.ts'), 'utf8')).toBe(await apiTypes())
})
