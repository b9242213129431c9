import { beforeEach, expect, it } from 'vitest'
import { s3Targets } from '../src/service/index.ts'
import { httpProxy } from './support/http-proxy.ts'
import { clientOf, testBucket } from './support/s3-bucket.ts'

const bucket = testBucket()
const proxy = httpProxy(() => bucket.server.endpoint)

beforeEach(() => proxy.reset())

const resolve = () => {
  const client = clientOf({ ...bucket.server, endpoint: proxy.endpoint })
  return s3Targets({ client, retry: { stallTimeoutMs: 300 } }).resolve(bucket.name, 'p1')
}

it('asks a store that says nothing again', async () => {
  await bucket.put('there', Buffer.from('four'))
  const target = await resolve()
  proxy.fault = (_, index) => (index === 0 || index === 2 ? { kind: 'stall' } : undefined)
  expect(await target.facts()).toMatchObject({ accessible: true })
  expect(await target.head('there')).toMatchObject({ size: 4 })
  expect(proxy.seen.map(({ method }) => method)).toEqual(['HEAD', 'HEAD', 'HEAD', 'HEAD'])
})

it('does not wait for ever for a store that says nothing', async () => {
  const target = await resolve()
  proxy.fault = () => ({ kind: 'stall' })
  await expect(target.facts()).rejects.toMatchObject({ code: 'target-failed' })
  expect(proxy.seen).toHaveLength(3)
})
