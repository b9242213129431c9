import { describe, expect, it } from 'vitest'
import { combineCrc32c, crc32c, crc32cToBase64 } from '../src/bytes/crc32c.ts'
import { GiB, KiB, MiB, TiB } from '../src/bytes/units.ts'
import { formatS3Address, isS3Address, parseS3Address } from '../src/io/s3/address.ts'
import { PartLedger } from '../src/io/s3/part-ledger.ts'
import { partSizeAt, planGrowingParts, planParts } from '../src/io/s3/parts.ts'
import { s3Failed } from '../src/io/s3/s3-error.ts'

describe('planParts', () => {
  it.each([0, 1, 5 * MiB, 5 * MiB + 1, GiB, 10_000 * 5 * MiB])('takes the smallest parts for %i bytes', (size) => {
    expect(planParts(size)).toEqual({ partSize: 5 * MiB, concurrency: 4 })
  })

  it.each([10_000 * 5 * MiB + 1, 64 * GiB, 2 * TiB, 16 * TiB + 513, 48 * TiB])(
    'fits %i bytes into 10,000 equal parts of whole mebibytes',
    (size) => {
      const { partSize, concurrency } = planParts(size)
      expect(Math.ceil(size / partSize)).toBeLessThanOrEqual(10_000)
      expect(Math.ceil(size / (partSize - MiB))).toBeGreaterThan(10_000)
      expect(partSize % MiB).toBe(0)
      expect(concurrency).toBeGreaterThanOrEqual(1)
    },
  )

  it('has fewer parts under way when they are large', () => {
    expect(planParts(GiB, { partSize: 16 * MiB }).concurrency).toBe(2)
    expect(planParts(GiB, { partSize: 5 * GiB }).concurrency).toBe(1)
    expect(planParts(GiB, { partSize: 16 * MiB, concurrency: 9 }).concurrency).toBe(9)
  })

  it.each([0, KiB, 5 * MiB - 1, 5 * GiB + 1, Number.NaN])('refuses parts of %d bytes', (partSize) => {
    expect(() => planParts(GiB, { partSize })).toThrow(expect.objectContaining({ code: 'usage' }))
  })

  it('refuses parts that would be too many', () => {
    const refusal = { code: 'usage', found: 5 * MiB, expected: 'from 105 MiB to 5 GiB' }
    expect(() => planParts(TiB, { partSize: 5 * MiB })).toThrow(expect.objectContaining(refusal))
  })

  it.each([0, -1, 1.5, Number.NaN])('refuses %d parts at once', (concurrency) => {
    expect(() => planParts(GiB, { concurrency })).toThrow(expect.objectContaining({ code: 'usage' }))
  })

  it('refuses an object that no parts can hold', () => {
    const refusal = expect.objectContaining({ code: 'target-unfit', found: 49 * TiB })
    expect(() => planParts(49 * TiB)).toThrow(refusal)
  })
})

describe('planGrowingParts', () => {
  it('takes small equal parts where they do, and where it is told to', () => {
    expect(planGrowingParts(GiB)).toEqual({ partSize: 5 * MiB, concurrency: 4 })
    expect(planGrowingParts(2 * TiB, { equalParts: true })).toEqual(planParts(2 * TiB))
    expect(planGrowingParts(2 * TiB, { partSize: 256 * MiB })).toEqual(planParts(2 * TiB, { partSize: 256 * MiB }))
  })

  it.each([10_000 * 5 * MiB + 1, 64 * GiB, 2 * TiB, 16 * TiB + 513, 48 * TiB])('holds %i bytes', (bound) => {
    const plan = planGrowingParts(bound)
    let held = 0
    for (let number = 1; number <= 10_000; number++) {
      expect(partSizeAt(plan, number)).toBeLessThanOrEqual(5 * GiB)
      held += partSizeAt(plan, number)
    }
    expect(held).toBeGreaterThanOrEqual(bound)
    if (plan.growEvery !== undefined) expect(partSizeAt(plan, 1)).toBe(5 * MiB)
  })
})

describe('PartLedger', () => {
  const partSize = 10
  const bytes = Buffer.from('abcdefghijklmnopqrstuvwxy')
  const numberAt = (offset: number) => Math.floor(offset / partSize) + 1
  const chunk = (offset: number, length: number) => {
    const part = bytes.subarray(offset, offset + length)
    return { offset, bytes: part, crc32c: crc32c(part) }
  }

  it('joins the checksums of chunks into those of parts and of the whole', () => {
    const ledger = new PartLedger()
    for (const [offset, length] of [
      [0, 4],
      [4, 6],
      [10, 10],
      [20, 5],
    ] as const)
      void ledger.enter(numberAt(offset), chunk(offset, length))
    expect(ledger.count).toBe(3)
    expect(ledger.checksum(1)).toBe(crc32cToBase64(crc32c(bytes.subarray(0, 10))))
    expect(ledger.checksum(2)).toBe(crc32cToBase64(crc32c(bytes.subarray(10, 20))))
    expect(ledger.checksum(3)).toBe(crc32cToBase64(crc32c(bytes.subarray(20))))
    expect(ledger.whole()).toBe(crc32c(bytes))
  })

  it('knows the checksum of checksums', () => {
    const ledger = new PartLedger()
    for (const offset of [0, 10, 20]) void ledger.enter(numberAt(offset), chunk(offset, Math.min(10, 25 - offset)))
    const parts = [0, 10, 20].map((offset) => crc32c(bytes.subarray(offset, offset + 10)))
    const all = Buffer.alloc(12)
    parts.forEach((crc, index) => void all.writeUInt32BE(crc, 4 * index))
    expect(ledger.composite()).toBe(`${crc32cToBase64(crc32c(all))}-3`)
  })

  it("frees a part's memory, and no other's", async () => {
    const ledger = new PartLedger()
    const freed: number[] = []
    for (const [part, offset] of [
      [1, 0],
      [1, 5],
      [2, 10],
    ] as const)
      void ledger.enter(numberAt(offset), chunk(offset, 5)).then(() => freed.push(part))
    ledger.release(1)
    await Promise.resolve()
    expect(freed).toEqual([1, 1])
    ledger.release(7)
    ledger.release(2)
    await Promise.resolve()
    expect(freed).toEqual([1, 1, 2])
  })

  it('tells the first failure to whoever waits, and to whoever comes later', async () => {
    const ledger = new PartLedger()
    const before = ledger.enter(numberAt(0), chunk(0, 5))
    const failure = new Error('first')
    ledger.fail(failure)
    ledger.fail(new Error('second'))
    await expect(before).rejects.toBe(failure)
    await expect(ledger.enter(numberAt(5), chunk(5, 5))).rejects.toBe(failure)
  })

  it('has the checksum of nothing for an empty object', () => {
    expect(new PartLedger().whole()).toBe(0)
  })

  it('agrees with joining by hand', () => {
    const [a, b] = [bytes.subarray(0, 7), bytes.subarray(7)]
    expect(combineCrc32c(crc32c(a), crc32c(b), b.length)).toBe(crc32c(bytes))
  })
})

describe('parseS3Address', () => {
  it.each([
    ['s3://bucket/key', { bucket: 'bucket', key: 'key' }],
    ['s3://bucket/folder/key.vhd', { bucket: 'bucket', key: 'folder/key.vhd' }],
    ['s3://bucket//key', { bucket: 'bucket', key: '/key' }],
    ['s3://bucket/a b?c#d', { bucket: 'bucket', key: 'a b?c#d' }],
  ])('reads %s', (text, address) => {
    expect(parseS3Address(text)).toEqual(address)
    expect(formatS3Address(address)).toBe(text)
    expect(isS3Address(text)).toBe(true)
  })

  it("reads the export API's form", () => {
    expect(parseS3Address('exports:a/b:c.vhd')).toEqual({ bucket: 'exports', key: 'a/b:c.vhd' })
    expect(isS3Address('exports:a/b:c.vhd')).toBe(false)
  })

  it.each(['', 's3://', 's3://bucket', 's3://bucket/', 's3:///key', 'http://bucket/key', 'bucket/key', 'x/s3://a/b'])(
    'refuses %j',
    (text) => {
      const refusal = expect.objectContaining({ code: 'usage', found: text, expected: 's3://bucket/key' })
      expect(() => parseS3Address(text)).toThrow(refusal)
    },
  )
})

describe('s3Failed', () => {
  it.each([
    [
      { name: 'NoSuchBucket', message: 'x' },
      { code: 'target-failed', found: 'NoSuchBucket', hint: /make the bucket/ },
    ],
    [
      { name: 'Error', code: 'ECONNREFUSED' },
      { code: 'target-failed', found: 'ECONNREFUSED', hint: /nothing listens/ },
    ],
    [
      { name: 'Error', message: 'Region is missing' },
      { code: 'target-failed', hint: /AWS_REGION/ },
    ],
    [
      { name: 'TimeoutError', message: 'x' },
      { code: 'target-failed', found: 'TimeoutError', hint: /in time/ },
    ],
    [
      { name: 'BadDigest', message: 'x' },
      { code: 'checksum-mismatch', found: 'BadDigest', hint: /try again/ },
    ],
    [
      { name: 'XAmzContentSHA256Mismatch', message: 'x' },
      { code: 'checksum-mismatch', hint: /try again/ },
    ],
  ])('knows what to do about %j', (cause, { hint, ...facts }) => {
    const error = s3Failed('uploading', cause)
    expect(error).toMatchObject({ ...facts, cause })
    expect(error.hint).toMatch(hint)
  })

  it.each([new Error('odd'), new Error(''), { name: 'constructor' }, 'text', undefined, null])(
    'makes an error of %o, and invents nothing',
    (cause) => {
      const error = s3Failed('uploading', cause)
      expect(error).toMatchObject({ code: 'target-failed' })
      expect(error.cause).toBe(cause)
      expect(error.hint).toBeUndefined()
      expect(error.message).not.toMatch(/undefined|null|\[object/)
    },
  )
})
