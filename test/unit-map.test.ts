import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { UnitMap } from '../src/bytes/unit-map.ts'

describe('a unit map', () => {
  const LENGTH = 300
  const anyRange = fc
    .tuple(fc.nat({ max: LENGTH }), fc.nat({ max: LENGTH }))
    .map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const)

  it('answers as a set of numbers would', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat({ max: LENGTH - 1 })),
        fc.array(anyRange, { maxLength: 4 }),
        anyRange,
        (units, ranges, asked) => {
          const map = new UnitMap(LENGTH * 512, 512)
          const model = new Set(units)
          for (const unit of units) map.add(unit)
          for (const [from, to] of ranges) {
            map.addRange(from, to)
            for (let unit = from; unit < to; unit++) model.add(unit)
          }
          const sorted = [...model].sort((a, b) => a - b)
          const inside = sorted.filter((unit) => unit >= asked[0] && unit < asked[1])
          expect(sorted.every((unit) => map.has(unit))).toBe(true)
          expect(map.count()).toBe(model.size)
          expect(map.count(...asked)).toBe(inside.length)
          expect(map.next(asked[0])).toBe(sorted.find((unit) => unit >= asked[0]) ?? LENGTH)
          expect(
            [...map.runs(...asked)].flatMap(({ from, to }) => Array.from({ length: to - from }, (_, i) => from + i)),
          ).toEqual(inside)
          expect(map.next(asked[0], false)).toBe(firstUnset(model, asked[0]))
        },
      ),
    )
  })

  const firstUnset = (model: Set<number>, from: number): number => {
    let unit = from
    while (unit < LENGTH && model.has(unit)) unit++
    return unit
  }

  it('gives runs that are apart', () => {
    const map = new UnitMap(20 * 512, 512)
    map.addRange(3, 6)
    map.addRange(6, 17)
    map.add(19)
    expect([...map.runs()]).toEqual([
      { from: 3, to: 17 },
      { from: 19, to: 20 },
    ])
  })

  it('has a unit for the rest of the disk', () => {
    expect(new UnitMap(1025, 512).length).toBe(3)
    expect(new UnitMap(0, 512).length).toBe(0)
  })

  it('refuses a disk of too many units before it takes memory for them', () => {
    expect(() => new UnitMap(2 ** 52, 512)).toThrow(expect.objectContaining({ code: 'too-large' }))
  })
})
