import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  combineCrc32c,
  crc32c,
  crc32cBackend,
  crc32cOfZeros,
  crc32cToBase64,
  crc32cToHex,
} from '../src/bytes/crc32c.ts'
import { referenceCrc32c } from './support/crc32c.ts'

describe('CRC-32C', () => {
  it('of 123456789 is e3069283, whatever computes it', () => {
    expect(crc32cToHex(crc32c(Buffer.from('123456789')))).toBe('e3069283')
    expect(crc32cBackend).toMatch(/crc32/)
  })

  it('is what the definition says, of anything and in any pieces', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 3000 }), fc.nat(), (bytes, at) => {
        const split = at % (bytes.length + 1)
        const [a, b] = [bytes.subarray(0, split), bytes.subarray(split)]
        expect(crc32c(bytes)).toBe(referenceCrc32c(bytes))
        expect(crc32c(b, crc32c(a))).toBe(crc32c(bytes))
        expect(combineCrc32c(crc32c(a), crc32c(b), b.length)).toBe(crc32c(bytes))
      }),
    )
  })

  it.each([0, 1, 7, 512, 65_536, 10 * 2 ** 20 + 3])('of %i zeros is reckoned as if they were there', (length) => {
    const before = crc32c(Buffer.from('before'))
    expect(crc32cOfZeros(length)).toBe(crc32c(Buffer.alloc(length)))
    expect(crc32cOfZeros(length, before)).toBe(crc32c(Buffer.alloc(length), before))
  })

  it('combines over lengths that have more than 32 bits', () => {
    const half = 3 * 2 ** 40
    const zeros = crc32cOfZeros(half)
    expect(combineCrc32c(zeros, zeros, half)).toBe(crc32cOfZeros(2 * half))
    expect(crc32cOfZeros(half, zeros)).toBe(crc32cOfZeros(2 * half))
  })

  it('is written in eight digits, and in base64 as stores want it', () => {
    expect(crc32cToHex(0xab)).toBe('000000ab')
    expect(crc32cToBase64(0xe3069283)).toBe('4waSgw==')
  })
})
