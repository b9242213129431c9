import { rm, writeFile } from 'node:fs/promises'
import { beforeAll, describe, expect, it } from 'vitest'
import { convert } from '../src/index.ts'
import { makeSource, packedTargetKinds, sourceKinds, type TargetKind, targetKinds } from './support/matrix.ts'
import { contentOf, makePattern } from './support/pattern.ts'
import { checkImage, differenceOf, imageInfo } from './support/qemu.ts'
import { sample } from './support/sample.ts'
import { tempFolder } from './support/temp-folder.ts'

const path = tempFolder()

/** Whole sectors, but (except for the last) neither whole blocks nor clusters nor pages. */
const disks = [
  { size: 5 * 2 ** 20 + 512, threads: 2, targets: [...targetKinds, ...packedTargetKinds] },
  { size: 33 * 2 ** 20 + 4096 + 512, threads: 0, targets: targetKinds },
  { size: 64 * 2 ** 20, threads: 2, targets: targetKinds },
]

for (const [number, { size, threads, targets }] of disks.entries()) {
  for (const source of sourceKinds) {
    describe(`a ${source.name} of ${size} bytes, with ${threads} threads`, () => {
      const image = path(`${number} ${source.name}`)
      const expected = `${image}.expected`
      let virtualSize = 0

      beforeAll(async () => {
        const pattern = makePattern(number + 1, size)
        await makeSource(source, image, pattern)
        virtualSize = (await imageInfo(image, source.format))['virtual-size']
        await writeFile(expected, contentOf(pattern, virtualSize))
        return () => Promise.all([rm(image), rm(expected)])
      })

      it.each(sample(targets, 3))('becomes the same disk as $name', async (kind) => {
        const target = `${image} ${kind.name}`
        const result = await convertTo(kind, image, target, threads)
        expect(result.virtualSize).toBe(virtualSize)
        expect(await differenceOf([expected, 'raw'], [target, kind.format])).toBeUndefined()
        expect((await imageInfo(target, kind.format))['virtual-size']).toBe(virtualSize)
        if (kind.format === 'qcow2') expect(await checkImage(target)).toEqual({ errors: 0, leaks: 0, corruptions: 0 })
        await rm(target)
      })
    })
  }
}

function convertTo({ to, options }: TargetKind, source: string, target: string, threads: number) {
  return convert({ source, to, options, target, threads })
}
