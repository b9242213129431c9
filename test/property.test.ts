import { rm, writeFile } from 'node:fs/promises'
import fc from 'fast-check'
import { describe, it } from 'vitest'
import { convert } from '../src/index.ts'
import { packedTargetKinds, targetKinds } from './support/matrix.ts'
import { contentOf, type Pattern, type Write, writePattern } from './support/pattern.ts'
import { convertImage, createImage, differenceOf, type QemuFormat } from './support/qemu.ts'
import { tempFolder } from './support/temp-folder.ts'

/**
 * The oracle is QEMU, from both ends: it makes the source from random writes, and it reads the target. What it can not
 * see: bytes past the disk's end, and what no guest reads (identifiers, slack in tables).
 */
const path = tempFolder()
const RUNS = 13
const MOST_SECTORS = 24 * 2048

interface Source {
  readonly format: QemuFormat
  readonly options: Readonly<Record<string, string | number>>
  readonly compressed: boolean
}

const qcow2Source = fc.record({
  format: fc.constant<QemuFormat>('qcow2'),
  options: fc.record({
    compat: fc.constantFrom('0.10', '1.1'),
    cluster_size: fc.constantFrom(512, 1024, 4096, 16_384, 65_536, 2 ** 20, 2 ** 21),
  }),
  compressed: fc.boolean(),
})
const vhdSource = fc.record({
  format: fc.constant<QemuFormat>('vpc'),
  options: fc.record({ subformat: fc.constantFrom('fixed', 'dynamic'), force_size: fc.constant('on') }),
  compressed: fc.constant(false),
})
const anySource: fc.Arbitrary<Source> = fc.oneof(
  qcow2Source,
  vhdSource,
  fc.constant<Source>({ format: 'raw', options: {}, compressed: false }),
)

const anyContent: fc.Arbitrary<Write['content']> = fc.oneof(
  fc.record({ kind: fc.constant('byte' as const), value: fc.integer({ min: 0, max: 255 }) }),
  fc.record({ kind: fc.constant('noise' as const), seed: fc.nat() }),
  fc.constant({ kind: 'zeroed' as const }),
)

/** Writes anywhere on a disk of whole sectors. The first byte is such that no format is probed. */
const anyPattern: fc.Arbitrary<Pattern> = fc
  .record({
    sectors: fc.integer({ min: 1, max: MOST_SECTORS }),
    writes: fc.array(
      fc.record({ at: fc.double({ min: 0, max: 1, noNaN: true }), length: anyLength(), content: anyContent }),
      { maxLength: 12 },
    ),
  })
  .map(({ sectors, writes }) => {
    const size = sectors * 512
    const placed = writes.map(({ at, length, content }) => {
      const offset = Math.min(size - 1, Math.floor(at * size))
      return { offset, length: Math.min(length, size - offset), content }
    })
    return { size, writes: [...placed, { offset: 0, length: 1, content: { kind: 'byte', value: 0xeb } }] }
  })

function anyLength(): fc.Arbitrary<number> {
  return fc.oneof(
    fc.integer({ min: 1, max: 1024 }),
    fc.integer({ min: 1, max: 2 ** 18 }),
    fc.constantFrom(512, 4096, 65_536, 2 ** 20, 3 * 2 ** 20),
  )
}

async function makeSource({ format, options, compressed }: Source, image: string, pattern: Pattern): Promise<void> {
  const plain = compressed ? `${image}.plain` : image
  await createImage(plain, format, pattern.size, { options })
  await writePattern(plain, format, pattern)
  if (compressed) await convertImage([plain, format], [image, format], { compress: true, options })
}

describe('any disk', () => {
  it.each([0, 2])('is the same disk in any other format, with %i threads', async (threads) => {
    const target = fc.constantFrom(...targetKinds, ...packedTargetKinds)
    const property = fc.asyncProperty(
      anyPattern,
      anySource,
      target,
      fc.boolean(),
      async (pattern, source, kind, keepZeros) => {
        const [image, output, expected] = [path('image'), path('output'), path('expected')]
        await makeSource(source, image, pattern)
        const { to, options } = kind
        await convert({ source: image, to, options, target: output, threads, keepZeros })
        await writeFile(expected, contentOf(pattern))
        const difference = await differenceOf([expected, 'raw'], [output, kind.format])
        await Promise.all([rm(image), rm(output)])
        if (difference !== undefined) throw new Error(difference)
      },
    )
    await fc.assert(property, {
      numRuns: RUNS,
      seed: 20_000 + threads,
      endOnFailure: false,
      interruptAfterTimeLimit: 60_000,
    })
  })
})
