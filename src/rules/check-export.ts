import { bodyRules } from './body-rules.ts'
import {
  type ExportCheck,
  type ExportRequest,
  type ExportRule,
  rule,
  type Subject,
  violationOf,
} from './export-rule.ts'
import type { ImageRecord } from './image-record.ts'
import { openedRules } from './opened-rules.ts'
import { defaultPolicy, type Policy, readPolicy } from './policy.ts'
import { recordRules } from './record-rules.ts'

const permitted: ExportRule = {
  ...rule(
    'caller',
    'IMG.0026',
    'permitted',
    'the caller may write to object storage',
    ({ policy }) => `ask for the role ${policy.role}`,
    ({ request, policy }) => (request.caller?.roles.includes(policy.role) ? undefined : 'the role is missing'),
  ),
  status: 403,
}

const bucketRules: readonly ExportRule[] = [
  rule(
    'bucket',
    'IMG.0069',
    'bucket-accessible',
    'the bucket is there and may be written to',
    'make the bucket first, or check its name and its policy',
    ({ request }) => (request.bucket?.accessible ? undefined : 'the bucket can’t be reached'),
  ),
  rule(
    'bucket',
    'IMG.0058',
    'bucket-region',
    'the bucket is in the region of the image',
    ({ policy }) => `take a bucket in ${policy.region}`,
    ({ request: { bucket }, policy: { region } }) =>
      region === null || !bucket?.accessible || bucket.region === region
        ? undefined
        : `the bucket is in ${bucket.region ?? 'a region that the store does not tell'}`,
  ),
  rule(
    'bucket',
    'IMG.0069',
    'bucket-storage-class',
    'the bucket is of the storage class that is asked for',
    ({ policy }) => `take a bucket of the class ${policy.storageClass}`,
    ({ request: { bucket }, policy: { storageClass } }) =>
      !bucket?.accessible || bucket.storageClass.toUpperCase() === storageClass.toUpperCase()
        ? undefined
        : `the bucket’s storage class is ${bucket.storageClass}`,
  ),
  rule(
    'bucket',
    'IMG.0070',
    'object-absent',
    'there is no such object yet',
    'take another file name, or remove the object',
    ({ request }) => (request.bucket?.objectExists ? 'the object exists, or is being written' : undefined),
  ),
]

const jobRules: readonly ExportRule[] = [
  rule(
    'jobs',
    'IMG.0148',
    'not-being-exported',
    'the image is not being exported',
    'wait until the other export has ended, or cancel it',
    ({ request }) => (request.jobs?.imageClaimed ? 'another export of this image has not ended' : undefined),
  ),
  rule(
    'jobs',
    'IMG.0060',
    'not-too-many',
    'there are not too many requests and exports',
    'try again later',
    ({ request }) => (request.jobs?.tooMany ? 'there are too many' : undefined),
  ),
]

/** Every constraint, in the order in which a caller is told of them. */
export const exportRules: readonly ExportRule[] = [permitted, ...bodyRules, ...recordRules, ...jobRules, ...bucketRules]

/**
 * Holds an export against all rules. What is not given in `request` is not checked: `unchecked` names those rules.
 * `image` is undefined where there is none.
 */
export function checkExport(
  image: ImageRecord | undefined,
  request: ExportRequest,
  policy: Policy = defaultPolicy,
): ExportCheck {
  const subject: Subject = { image, request, policy }
  const applied = exportRules.filter(({ name }) => !policy.off.includes(name))
  const given = applied.filter((candidate) => isGiven(candidate, request))
  const violations = given.flatMap((candidate) => violationOf(candidate, subject) ?? [])
  const unchecked = applied.filter((candidate) => !given.includes(candidate)).map(({ name }) => name)
  return { ok: violations.length === 0, violations, unchecked }
}

/** Facts about bucket and jobs may be unknown; whoever can't say who calls, or what for, is refused. */
function isGiven({ about }: ExportRule, { bucket, jobs }: ExportRequest): boolean {
  if (about === 'bucket') return bucket !== undefined
  return about !== 'jobs' || jobs !== undefined
}

/**
 * Reads what a policy file holds.
 * @throws DiskferryError `usage` that names every field that is wrong
 */
export function policyFrom(value: unknown): Policy {
  return readPolicy(
    value,
    [...exportRules, ...openedRules].map(({ name }) => name),
  )
}
