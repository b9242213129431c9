import { DiskferryError } from '../bytes/errors.ts'
import type { ImageFacts } from '../formats/format.ts'

/**
 * What makes an image unsafe to convert, as data. An image names these things itself; whoever made it may be a
 * stranger, so none of them is followed unless the caller says so.
 */
export interface ImageRule {
  readonly name: string
  readonly description: string
  /** What was found, when the image breaks the rule. */
  check(image: WithFacts): string | undefined
  /** What the caller can do about it. */
  readonly remedy: string
}

export const imageRules: readonly ImageRule[] = [
  {
    name: 'no-backing-file',
    description: 'the image needs another file, its backing file or parent, to be whole',
    check: ({ facts }) => facts.backingFile,
    remedy: 'allow the folder that holds it (--allow-backing, option backing), or merge the files first',
  },
  {
    name: 'no-data-file',
    description: 'the guest data lies in another file',
    check: ({ facts }) => facts.dataFile,
    remedy: 'allow the folder that holds it (--allow-backing, option backing)',
  },
  {
    name: 'not-encrypted',
    description: 'the guest data is encrypted',
    check: ({ facts }) => facts.encryption,
    remedy: 'decrypt it first: what would be written is only ciphertext',
  },
]

/** An image, whether it is read anywhere or front to back. */
type WithFacts = { readonly facts: ImageFacts }

export interface ImageViolation {
  readonly rule: string
  readonly description: string
  readonly found: string
  readonly remedy: string
}

/** Every rule that the image breaks. */
export function checkImage(image: WithFacts): ImageViolation[] {
  return imageRules.flatMap(({ name, description, check, remedy }) => {
    const found = check(image)
    return found === undefined ? [] : [{ rule: name, description, found, remedy }]
  })
}

/** @throws DiskferryError `unsafe-image`, naming what was found, for the first rule that the image breaks */
export function assertSafeImage(image: WithFacts): void {
  const [violation] = checkImage(image)
  if (violation === undefined) return
  const { description, found, remedy } = violation
  throw new DiskferryError('unsafe-image', `${description}: ${JSON.stringify(found)}`, { found, hint: remedy })
}
