import { z } from 'zod'
import { DiskferryError } from '../bytes/errors.ts'

const code = z.string().regex(/^[A-Z]+\.\d{4}$/, 'a code such as IMG.0072')
const gibibytes = z.number().positive()
const diskLimits = z.strictObject({
  fileBelowGiB: gibibytes.describe('The image file has to be smaller than this.'),
  diskAtMostGiB: gibibytes.describe('The disk may be as large as this.'),
})
const disk = (diskAtMostGiB: number) => diskLimits.default({ fileBelowGiB: 128, diskAtMostGiB })

/** What differs from region to region and from year to year. Every default is what the API began with. */
export const policySchema = z.strictObject({
  formats: z
    .array(z.enum(['vmdk', 'vhd', 'qcow2', 'zvhd']))
    .default(['vmdk', 'vhd', 'qcow2', 'zvhd'])
    .describe('Formats that may be asked for.'),
  quickExport: z
    .strictObject({
      allowed: z.boolean().default(true),
      fileBelowGiB: gibibytes.default(1024).describe('Instead of the limits of system and data disks.'),
    })
    .prefault({}),
  systemDisk: disk(1024),
  dataDisk: disk(2048),
  region: z.string().nullable().default(null).describe('Where a bucket has to be; null: anywhere.'),
  storageClass: z.string().default('STANDARD').describe('The storage class that a bucket has to have.'),
  role: z.string().default('te_admin').describe('The role that whoever exports has to hold.'),
  osVersions: z.array(z.string()).nullable().default(null).describe('Values of __os_version; null: any.'),
  codes: z.record(z.string(), code).default({}).describe('Other codes for rules, by the rule’s name.'),
  off: z.array(z.string()).default([]).describe('Names of rules that are not applied.'),
})

export type Policy = z.output<typeof policySchema>
/** A policy as a file states it: what is left out has its default. */
export type PolicyInput = z.input<typeof policySchema>

export const defaultPolicy: Policy = policySchema.parse({})

/**
 * Reads what a policy file holds.
 * @throws DiskferryError `usage` that names every field that is wrong
 */
export function readPolicy(value: unknown, ruleNames: readonly string[]): Policy {
  const read = policySchema.safeParse(value)
  if (!read.success) throw new DiskferryError('usage', `the policy is wrong: ${z.prettifyError(read.error)}`)
  const unknown = [...Object.keys(read.data.codes), ...read.data.off].filter((name) => !ruleNames.includes(name))
  if (unknown.length === 0) return read.data
  throw new DiskferryError('usage', `the policy names rules that there are not: ${unknown.join(', ')}`, {
    found: unknown.join(', '),
    expected: ruleNames.join(', '),
  })
}
