import { constants, deflateRawSync, deflateSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { DiskferryError, fromPlainError, isDiskferryError, toPlainError } from '../src/bytes/errors.ts'
import { raw, size64be, struct, text, u8, u16be, u16le, u32be, u32le, u64be, u64le } from '../src/bytes/struct.ts'
import { alignDown, alignUp, formatSize, isPowerOfTwo, parseSize } from '../src/bytes/units.ts'
import { unpackExactly } from '../src/bytes/unpack.ts'
import { isZero } from '../src/bytes/zeros.ts'
import { noise } from './support/pattern.ts'

const MiB = 2 ** 20

describe('sizes', () => {
  it.each([
    ['0', 0],
    ['512', 512],
    ['512B', 512],
    ['64K', 65_536],
    ['64k', 65_536],
    ['1MiB', MiB],
    ['1MB', MiB],
    ['1.5M', 1.5 * MiB],
    [' 10 G ', 10 * 2 ** 30],
    ['2T', 2 * 2 ** 40],
    ['0.3K', undefined],
    ['9007199254740992', undefined],
    ['99999999T', undefined],
    ['-1', undefined],
    ['1e3', undefined],
    ['0x10', undefined],
    ['1P', undefined],
    ['M', undefined],
    ['', undefined],
  ] as const)('%j is read as %s', (written, bytes) => {
    expect(parseSize(written)).toBe(bytes)
  })

  it.each([
    [0, '0 B'],
    [512, '512 B'],
    [1023, '1023 B'],
    [1024, '1 KiB'],
    [1536, '1.50 KiB'],
    [20.5 * 1024, '20.5 KiB'],
    [MiB, '1 MiB'],
    [2040 * 2 ** 30, '1.99 TiB'],
    [2 ** 52, '4 PiB'],
  ])('%i bytes are told as %s', (bytes, told) => {
    expect(formatSize(bytes)).toBe(told)
  })

  it('that are powers of two are known at any height', () => {
    for (let power = 0; power < 53; power++) expect(isPowerOfTwo(2 ** power)).toBe(true)
    for (let power = 2; power < 53; power++) {
      expect(isPowerOfTwo(2 ** power - 1), `2^${power} - 1`).toBe(false)
      expect(isPowerOfTwo(2 ** power + 1), `2^${power} + 1`).toBe(false)
    }
    for (const other of [0, -1, -2, 0.5, 3, Number.NaN, Number.POSITIVE_INFINITY])
      expect(isPowerOfTwo(other)).toBe(false)
  })

  it('are aligned beyond 32 bits', () => {
    expect(alignUp(2 ** 40 + 1, 512)).toBe(2 ** 40 + 512)
    expect(alignUp(2 ** 40, 512)).toBe(2 ** 40)
    expect(alignDown(2 ** 40 + 511, 512)).toBe(2 ** 40)
  })
})

describe('structures', () => {
  it('are decoded from what they encode, each field in its byte order', () => {
    const all = struct('all', 48, {
      a: [0, u8],
      b: [1, u16le],
      c: [3, u16be],
      d: [5, u32le],
      e: [9, u32be],
      f: [13, u64le],
      g: [21, u64be],
      h: [29, size64be],
      i: [37, text(3)],
      j: [40, raw(4)],
    })
    const values = { a: 1, b: 2, c: 3, d: 4, e: 5, f: 6n, g: 7n, h: 8, i: 'x y', j: Uint8Array.of(9, 8, 7, 6) }
    const bytes = all.encode(values)
    const hex =
      '01 0200 0003 04000000 00000005 0600000000000000 0000000000000007 0000000000000008 782079 09080706 00000000'
    expect(bytes.toString('hex')).toBe(hex.replaceAll(' ', ''))
    expect(all.decode(bytes)).toMatchObject({ ...values, j: Buffer.from(values.j) })
    expect(all.offsetOf('i')).toBe(37)
  })

  it('whose fields overlap are a slip that shows at once', () => {
    expect(() => struct('slip', 16, { a: [0, u32be], b: [3, u8] })).toThrow('slip.b overlaps another field')
  })

  it('with a field that sticks out are a slip that shows at once', () => {
    expect(() => struct('slip', 6, { a: [0, u32be], b: [4, u32be] })).toThrow(
      'slip.b overlaps another field or sticks out',
    )
  })

  it('that are cut short are malformed', () => {
    const pair = struct('pair', 8, { a: [0, u32be], b: [4, u32be] })
    const expected = { code: 'malformed', found: 7, expected: 8, offset: 1 }
    expect(() => pair.decode(new Uint8Array(8), 1)).toThrow(expect.objectContaining(expected))
  })

  it('hold no size beyond what a number can say', () => {
    const sized = struct('sized', 8, { size: [0, size64be] })
    expect(sized.decode(Buffer.from('001fffffffffffff', 'hex'))).toEqual({ size: Number.MAX_SAFE_INTEGER })
    const expected = { code: 'malformed', found: '9007199254740992', offset: 0 }
    expect(() => sized.decode(Buffer.from('0020000000000000', 'hex'))).toThrow(expect.objectContaining(expected))
  })
})

describe('unpacking', () => {
  const unit = Buffer.concat([noise(1, 3000)], 65_536)
  const codecs = [
    { name: 'deflate-raw', packed: deflateRawSync(unit) },
    { name: 'zlib', packed: deflateSync(unit) },
  ] as const

  it.each(codecs)('gives back a unit of $name, whatever follows it', ({ name, packed }) => {
    const padded = Buffer.concat([packed, noise(2, 700)])
    expect(Buffer.compare(unpackExactly({ name, unitSize: 65_536 }, padded, 0), unit)).toBe(0)
  })

  it.each([
    { what: 'more than a unit', packed: deflateRawSync(Buffer.alloc(65_537)) },
    { what: 'less than a unit', packed: deflateRawSync(Buffer.alloc(65_535)) },
    { what: 'nothing', packed: Buffer.alloc(0) },
    { what: 'half of what was packed', packed: deflateRawSync(unit).subarray(0, 1000) },
    { what: 'no deflate stream', packed: Buffer.alloc(100, 0xff) },
    {
      what: 'a stream with no end',
      packed: deflateRawSync(unit, { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, 2000),
    },
  ])('refuses $what, and says where', ({ packed }) => {
    const unpack = () => unpackExactly({ name: 'deflate-raw', unitSize: 65_536 }, packed, 4711)
    expect(unpack).toThrow(expect.objectContaining({ code: 'corrupt-data', offset: 4711 }))
  })

  it('stops a bomb at the size of a unit', () => {
    const bomb = deflateRawSync(Buffer.alloc(256 * MiB))
    const before = process.resourceUsage().maxRSS
    const unpack = () => unpackExactly({ name: 'deflate-raw', unitSize: 65_536 }, bomb, 0)
    expect(unpack).toThrow(expect.objectContaining({ code: 'corrupt-data' }))
    expect((process.resourceUsage().maxRSS - before) * 1024).toBeLessThan(16 * MiB)
  })
})

describe('zeros', () => {
  it.each([0, 1, 63, 64, 65, 65_536, 65_537, 200_001])('are told from anything else in %i bytes', (length) => {
    const bytes = new Uint8Array(length + 10).subarray(5, 5 + length)
    expect(isZero(bytes)).toBe(true)
    for (const at of [0, 1, 63, 64, 65_535, 65_536, length - 1].filter((place) => place >= 0 && place < length)) {
      bytes[at] = 1
      expect(isZero(bytes), `byte ${at}`).toBe(false)
      expect(isZero(bytes, at + 1), `after byte ${at}`).toBe(true)
      expect(isZero(bytes, 0, at), `before byte ${at}`).toBe(true)
      bytes[at] = 0
    }
  })
})

describe('errors', () => {
  it('keep class, code and facts on their way through a thread', () => {
    const error = new DiskferryError('truncated', 'too short', {
      offset: 9,
      found: 1,
      expected: '2',
      hint: 'look again',
    })
    const arrived = fromPlainError(structuredClone(toPlainError(error)))
    expect(arrived).toBeInstanceOf(DiskferryError)
    expect(arrived).toMatchObject({
      code: 'truncated',
      message: 'too short',
      offset: 9,
      found: 1,
      expected: '2',
      hint: 'look again',
    })
    expect(isDiskferryError(arrived, 'truncated')).toBe(true)
    expect(isDiskferryError(arrived, 'malformed')).toBe(false)
  })

  it('have no facts that nobody stated', () => {
    expect(toPlainError(new DiskferryError('usage', 'no'))).toEqual({ code: 'usage', message: 'no' })
  })

  it.each([new RangeError('out of range'), 'a string', undefined])(
    'that nobody foresaw arrive as worker-lost: %s',
    (thrown) => {
      const arrived = fromPlainError(structuredClone(toPlainError(thrown)))
      expect(arrived.code).toBe('worker-lost')
      expect(arrived.message).toContain(thrown instanceof Error ? thrown.message : String(thrown))
    },
  )

  it('of others are not ours', () => {
    expect(isDiskferryError(new Error('no'))).toBe(false)
    expect(isDiskferryError({ code: 'usage', name: 'DiskferryError' })).toBe(false)
  })
})
