import { isDiskferryError } from '../bytes/errors.ts'
import type { DiskImage } from '../formats/format.ts'
import type { ExportViolation, Subject } from './export-rule.ts'
import { imageRules } from './image-safety.ts'
import { limitsOf } from './record-rules.ts'

/** What opening an image gave: the image, or why it could not be opened. */
export type Opened = { readonly disk: DiskImage } | { readonly error: unknown }

/** A rule on the file itself, whatever the catalogue says of it. */
interface OpenedRule {
  readonly name: string
  readonly description: string
  readonly code: string
  check(disk: DiskImage, subject: Subject): string | undefined
  readonly explain: string
}

const GiB = 2 ** 30

/** Rules on an opened image, with codes of the API. */
export const openedRules: readonly OpenedRule[] = [
  {
    name: 'readable',
    description: 'the image file can be read',
    code: 'IMG.0071',
    check: () => undefined,
    explain: 'upload the image again, in a format that can be read',
  },
  ...imageRules.map(({ name, description, check, remedy }) => ({
    name,
    description: `not allowed: ${description}`,
    code: 'IMG.0071',
    check: (disk: DiskImage) => check(disk),
    explain: remedy,
  })),
  {
    name: 'real-disk-size',
    description: 'the disk is as small as it says',
    code: 'IMG.0160',
    check: ({ virtualSize }, subject) =>
      virtualSize <= limitsOf(subject).diskAtMostGiB * GiB ? undefined : `the disk has ${virtualSize} bytes`,
    explain: 'export a smaller disk',
  },
]

/** Holds the opened file against all rules of its own. */
export function checkOpened(opened: Opened, subject: Subject): ExportViolation[] {
  const { codes, off } = subject.policy
  return openedRules.flatMap((candidate) => {
    const { name, description, explain } = candidate
    const found = off.includes(name) ? undefined : foundBy(candidate, opened, subject)
    if (found === undefined) return []
    return [{ rule: name, description, code: codes[name] ?? candidate.code, status: 400, found, explain }]
  })
}

function foundBy(candidate: OpenedRule, opened: Opened, subject: Subject): string | undefined {
  if ('error' in opened) return candidate.name === 'readable' ? messageOf(opened.error) : undefined
  try {
    return candidate.check(opened.disk, subject)
  } catch {
    return 'it could not be checked'
  }
}

/** What is not our own may name places that are nobody's business. */
function messageOf(error: unknown): string {
  return isDiskferryError(error) ? `${error.code}: ${error.message}` : 'it could not be opened'
}
