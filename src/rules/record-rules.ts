import { attribute, ifGiven, numberOf, shown, unlessOneOf } from './attributes.ts'
import { isQuick } from './body-rules.ts'
import { type ExportRule, rule, type Subject } from './export-rule.ts'
import type { ImageRecord } from './image-record.ts'

const UPLOAD = 'export an image that was uploaded from a file by this project'

/** A rule on a record that is there. */
function onImage(
  code: string,
  name: string,
  description: string,
  explain: string | ((subject: Subject) => string),
  check: (image: ImageRecord, subject: Subject) => string | undefined,
): ExportRule {
  return rule('image', code, name, description, explain, (subject) =>
    subject.image === undefined ? undefined : check(subject.image, subject),
  )
}

/** Rules on what a catalogue says of an image. */
export const recordRules: readonly ExportRule[] = [
  {
    ...rule('image', 'IMG.0027', 'exists', 'the image exists', 'check the image’s id', ({ image }) =>
      image === undefined ? 'there is no such image' : undefined,
    ),
    status: 404,
  },
  onImage(
    'IMG.0046',
    'usable',
    'the image is active and registered',
    'wait until the image is active, or create it again',
    (image) => unlessOneOf(image, 'status', ['active']) ?? unlessOneOf(image, '__isregistered', [true, 'true']),
  ),
  onImage('IMG.0047', 'has-owner', 'the image has an owner', 'have the image’s owner set', (image) => {
    const owner = attribute(image, 'owner')
    return typeof owner === 'string' ? undefined : `owner is ${shown(owner)}`
  }),
  onImage(
    'IMG.0106',
    'own-project',
    'the image belongs to the caller’s project',
    'export it from the project that owns it',
    (image, { request }) => {
      const owner = attribute(image, 'owner')
      const stranger = typeof owner === 'string' && owner !== request.caller?.project
      return stranger ? 'the owner is another project' : undefined
    },
  ),
  onImage('IMG.0077', 'private', 'the image is private', UPLOAD, (image) => {
    const kinds = ['private', 'market'] // a marketplace image breaks a rule of its own
    return unlessOneOf(image, 'visibility', ['private']) ?? unlessOneOf(image, '__imagetype', kinds)
  }),
  onImage('IMG.0078', 'not-from-marketplace', 'the image does not come from a marketplace', UPLOAD, (image) => {
    const isMarket = attribute(image, '__imagetype') === 'market'
    return isMarket ? '__imagetype is "market"' : ifGiven(image, '__productcode')
  }),
  onImage('IMG.0079', 'not-charged', 'the image is not charged for', UPLOAD, (image) =>
    ifGiven(image, '__account_code'),
  ),
  onImage('IMG.0080', 'not-from-backup', 'the image is not made from a backup', UPLOAD, (image) =>
    ifGiven(image, '__backup_id'),
  ),
  onImage('IMG.0081', 'uploaded', 'the image was uploaded from a file', UPLOAD, (image) =>
    unlessOneOf(image, '__root_origin', ['file']),
  ),
  onImage('IMG.0071', 'no-parent', 'the image is not made from another image', UPLOAD, (image) =>
    ifGiven(image, '__originalimagename'),
  ),
  onImage(
    'IMG.0128',
    'not-whole-machine',
    'the image is not that of a whole machine',
    'export the images of its disks one by one',
    (image) => unlessOneOf(image, '__whole_image', [undefined, false, 'false']),
  ),
  onImage('IMG.0167', 'no-iso', 'the image is not an ISO', 'export an image of a disk', (image) => {
    const kind = attribute(image, 'virtual_env_type')
    return typeof kind === 'string' && kind !== 'IsoImage' ? undefined : `virtual_env_type is ${shown(kind)}`
  }),
  onImage('IMG.0160', 'file-size', 'the image file is small enough', explainSizes, (image, subject) => {
    const bytes = numberOf(image, '__image_size')
    if (bytes === undefined || bytes === 0) return `__image_size is ${shown(attribute(image, '__image_size'))}`
    return bytes < limitsOf(subject).fileBelowGiB * GiB ? undefined : `the image file has ${bytes} bytes`
  }),
  onImage('IMG.0160', 'disk-size', 'the disk is small enough', explainSizes, (image, subject) => {
    const gibibytes = numberOf(image, 'min_disk')
    if (gibibytes === undefined) return `min_disk is ${shown(attribute(image, 'min_disk'))}`
    return gibibytes <= limitsOf(subject).diskAtMostGiB ? undefined : `the disk has ${gibibytes} GiB`
  }),
  onImage(
    'IMG.0071',
    'not-encrypted-quickly',
    'an encrypted image is not exported quickly',
    'leave is_quick_export out and give a file_format',
    (image, { request }) => (isQuick(request.body) ? ifGiven(image, '__system__cmkid') : undefined),
  ),
  onImage(
    'IMG.0071',
    'os-version',
    'the operating system may be exported',
    ({ policy }) => `one of: ${policy.osVersions?.join(', ')}`,
    (image, { policy }) =>
      policy.osVersions === null ? undefined : unlessOneOf(image, '__os_version', policy.osVersions),
  ),
]

const GiB = 2 ** 30

/** Sizes that are allowed for this image, in this kind of export. */
export function limitsOf({ image, request, policy }: Subject): { fileBelowGiB: number; diskAtMostGiB: number } {
  const isData = image !== undefined && attribute(image, 'virtual_env_type') === 'DataImage'
  const { fileBelowGiB, diskAtMostGiB } = isData ? policy.dataDisk : policy.systemDisk
  return { fileBelowGiB: isQuick(request.body) ? policy.quickExport.fileBelowGiB : fileBelowGiB, diskAtMostGiB }
}

function explainSizes(subject: Subject): string {
  const { fileBelowGiB, diskAtMostGiB } = limitsOf(subject)
  const limits = `the file has to be smaller than ${fileBelowGiB} GiB, the disk at most ${diskAtMostGiB} GiB`
  const { allowed, fileBelowGiB: quick } = subject.policy.quickExport
  const larger = allowed && !isQuick(subject.request.body) && quick > fileBelowGiB
  return larger ? `${limits}; by quick export the file may be larger, below ${quick} GiB` : limits
}
