import type { PolicyInput } from '../../src/rules/index.ts'

/** An export that breaks one rule, by what differs from one that breaks none. */
export interface ExportCase {
  readonly rule: string
  readonly code: string
  readonly status?: number
  /** What makes it different from other cases of the rule. */
  readonly as: string
  /** Attributes of the image that differ; undefined removes one. `null` for the whole is an image that is not there. */
  readonly image?: Readonly<Record<string, unknown>> | null
  /** Fields of the body that differ, or the whole body as a text. */
  readonly body?: Readonly<Record<string, unknown>> | string
  readonly roles?: readonly string[]
  readonly bucket?: { accessible?: boolean; region?: string; storageClass?: string; objectExists?: boolean }
  readonly jobs?: { imageClaimed?: boolean; tooMany?: boolean }
  readonly policy?: PolicyInput
  /** Rules that the same thing breaks as well. */
  readonly also?: readonly string[]
}

const GiB = 2 ** 30
const url = (bucket_url: unknown) => ({ body: { bucket_url } })
const bad = (rule: string, code: string) => (as: string, more: Omit<ExportCase, 'rule' | 'code' | 'as'>): ExportCase => ({ rule, code, as, ...more }) // biome-ignore format: one line

const usable = bad('usable', 'IMG.0046')
const owned = bad('has-owner', 'IMG.0047')
const isPrivate = bad('private', 'IMG.0077')
const noMarket = bad('not-from-marketplace', 'IMG.0078')
const uploaded = bad('uploaded', 'IMG.0081')
const noParent = bad('no-parent', 'IMG.0071')
const noMachine = bad('not-whole-machine', 'IMG.0128')
const noIso = bad('no-iso', 'IMG.0167')
const fileSize = bad('file-size', 'IMG.0160')
const diskSize = bad('disk-size', 'IMG.0160')
const bucketName = bad('bucket-name', 'IMG.0109')
const fileName = bad('file-name', 'IMG.0075')
const tooLong = bad('file-name-length', 'IMG.0074')
const format = bad('format', 'IMG.0072')
const quick = { is_quick_export: true, file_format: undefined }

/** An image that may be exported. */
export const goodImage = {
  id: '7ca7c0a1-0000-4000-8000-000000000001',
  name: 'centos7',
  status: 'active',
  __isregistered: 'true',
  owner: 'p1',
  visibility: 'private',
  __imagetype: 'private',
  __root_origin: 'file',
  virtual_env_type: 'FusionCompute',
  __image_size: '1048576',
  min_disk: 40,
}

export const goodBody = { bucket_url: 'exports:centos7.vhd', file_format: 'vhd' }

export const exportCases: readonly ExportCase[] = [
  { rule: 'permitted', code: 'IMG.0026', status: 403, as: 'no role', roles: [] },
  { rule: 'permitted', code: 'IMG.0026', status: 403, as: 'another role', roles: ['reader'] },
  { rule: 'body-not-empty', code: 'IMG.0007', as: 'no text', body: '' },
  { rule: 'body-not-empty', code: 'IMG.0007', as: 'an empty object', body: '{}' },
  { rule: 'body-is-json', code: 'IMG.0001', as: 'no JSON', body: '{"bucket_url":' },
  { rule: 'body-is-json', code: 'IMG.0001', as: 'a list', body: '[1]' },
  { rule: 'body-is-json', code: 'IMG.0001', as: 'a number', body: '7' },
  { rule: 'bucket-url', code: 'IMG.0017', as: 'no bucket_url', ...url(undefined) },
  { rule: 'bucket-url', code: 'IMG.0017', as: 'no colon', ...url('exports/a.vhd') },
  { rule: 'bucket-url', code: 'IMG.0017', as: 'a number', ...url(5) },
  { rule: 'bucket-named', code: 'IMG.0068', as: 'no bucket', ...url(':a.vhd') },
  bucketName('upper case', url('Exports:a.vhd')),
  bucketName('too short', url('ex:a.vhd')),
  bucketName('a folder', url('exports/x:a.vhd')),
  bucketName('the folder above', url('..:a.vhd')),
  bucketName('two dots', url('exp..orts:a.vhd')),
  bucketName('a line break', url('exports\n:a.vhd')),
  { rule: 'file-named', code: 'IMG.0073', as: 'no file', ...url('exports:') },
  { rule: 'file-named', code: 'IMG.0073', as: 'only a folder', ...url('exports:folder/') },
  tooLong('129 characters', url(`exports:${'a'.repeat(129)}`)),
  tooLong('a folder of 129 characters', url(`exports:${'a'.repeat(129)}/a`)),
  tooLong('too many folders', url(`exports:${'abcdefgh/'.repeat(120)}a`)),
  fileName('an umlaut', url('exports:bücher.vhd')),
  fileName('a blank at its beginning', url('exports: a.vhd')),
  fileName('a blank at its end', url('exports:a.vhd ')),
  fileName('a dash at its beginning', url('exports:-a.vhd')),
  fileName('a dot at its end', url('exports:a.')),
  fileName('the folder above', url('exports:../a.vhd')),
  fileName('the folder above, further on', url('exports:x/../../a.vhd')),
  fileName('an absolute path', url('exports:/etc/passwd')),
  fileName('a folder without a name', url('exports:a//b.vhd')),
  fileName('a colon', url('exports:a:b.vhd')),
  fileName('a backslash', url('exports:a\\b.vhd')),
  fileName('a zero byte', url('exports:a\u0000b.vhd')),
  fileName('a percent sign', url('exports:%2e%2e%2fa.vhd')),
  format('no format', { body: { file_format: undefined } }),
  format('an unknown format', { body: { file_format: 'zip' } }),
  format('a format that is written but not offered', { body: { file_format: 'raw' } }),
  format('upper case', { body: { file_format: 'VHD' } }),
  format('a name that every object has', { body: { file_format: 'constructor' } }),
  format('a format in a quick export', { body: { is_quick_export: true } }),
  format('a text for a boolean', { body: { is_quick_export: 'true', file_format: undefined } }),
  format('no quick export offered', { body: quick, policy: { quickExport: { allowed: false } } }),
  format('a format that the policy leaves out', { policy: { formats: ['qcow2'] } }),
  { rule: 'exists', code: 'IMG.0027', status: 404, as: 'no image', image: null },
  usable('queued', { image: { status: 'queued' } }),
  usable('no status', { image: { status: undefined } }),
  usable('not registered', { image: { __isregistered: 'false' } }),
  usable('registration unknown', { image: { __isregistered: undefined } }),
  owned('no owner', { image: { owner: undefined, visibility: 'public' }, also: ['private'] }),
  owned('an owner that is no text', { image: { owner: ['p1'], visibility: 'public' }, also: ['private'] }),
  { rule: 'own-project', code: 'IMG.0106', as: 'shared', image: { owner: 'p2', members: ['p1'] } },
  isPrivate('public', { image: { visibility: 'public' } }),
  isPrivate('visibility unknown', { image: { visibility: undefined } }),
  isPrivate('gold', { image: { __imagetype: 'gold' } }),
  isPrivate('type unknown', { image: { __imagetype: undefined } }),
  noMarket('a product', { image: { __productcode: 'x1' } }),
  noMarket('a product that is no text', { image: { __productcode: {} } }),
  noMarket('market', { image: { __imagetype: 'market' } }),
  { rule: 'not-charged', code: 'IMG.0079', as: 'an account', image: { __account_code: 'a1' } },
  { rule: 'not-from-backup', code: 'IMG.0080', as: 'a backup', image: { __backup_id: 'b1' } },
  uploaded('from a server', { image: { __root_origin: 'server' } }),
  uploaded('origin unknown', { image: { __root_origin: undefined } }),
  noParent('a parent', { image: { __originalimagename: '0f5c-public' } }),
  noMachine('true', { image: { __whole_image: true } }),
  noMachine('"true"', { image: { __whole_image: 'true' } }),
  noMachine('neither', { image: { __whole_image: 1 } }),
  noIso('an ISO', { image: { virtual_env_type: 'IsoImage' } }),
  noIso('kind unknown', { image: { virtual_env_type: undefined } }),
  fileSize('128 GiB', { image: { __image_size: String(128 * GiB) } }),
  fileSize('unknown', { image: { __image_size: undefined } }),
  fileSize('empty', { image: { __image_size: 0 } }),
  fileSize('negative', { image: { __image_size: -5 } }),
  fileSize('no number', { image: { __image_size: '1e3' } }),
  fileSize('1 TiB, quick', { image: { __image_size: 1024 * GiB }, body: quick }),
  fileSize('above the policy', { policy: { systemDisk: { fileBelowGiB: 1 / 2048, diskAtMostGiB: 1024 } } }),
  diskSize('1025 GiB for a system disk', { image: { min_disk: 1025 } }),
  diskSize('2049 GiB for a data disk', { image: { min_disk: 2049, virtual_env_type: 'DataImage' } }),
  diskSize('unknown', { image: { min_disk: undefined } }),
  diskSize('no number', { image: { min_disk: Number.NaN } }),
  {
    rule: 'not-encrypted-quickly',
    code: 'IMG.0071',
    as: 'encrypted',
    image: { __system__cmkid: 'k1' },
    body: quick,
  },
  {
    rule: 'os-version',
    code: 'IMG.0071',
    as: 'unknown',
    image: { __os_version: 'BeOS' },
    policy: { osVersions: ['CentOS 7'] },
  },
  { rule: 'bucket-accessible', code: 'IMG.0069', as: 'no such bucket', bucket: { accessible: false } },
  {
    rule: 'bucket-region',
    code: 'IMG.0058',
    as: 'elsewhere',
    bucket: { region: 'eu-west-3' },
    policy: { region: 'eu-west-9' },
  },
  { rule: 'bucket-region', code: 'IMG.0058', as: 'unknown', policy: { region: 'eu-west-9' } },
  { rule: 'bucket-storage-class', code: 'IMG.0069', as: 'cold', bucket: { storageClass: 'COLD' } },
  { rule: 'object-absent', code: 'IMG.0070', as: 'there', bucket: { objectExists: true } },
  { rule: 'not-being-exported', code: 'IMG.0148', as: 'claimed', jobs: { imageClaimed: true } },
  { rule: 'not-too-many', code: 'IMG.0060', as: 'too many', jobs: { tooMany: true } },
]

/** Exports that break no rule, though they come near. */
export const allowedCases: readonly Omit<ExportCase, 'rule' | 'code'>[] = [
  { as: 'the plain one' },
  { as: 'none said as null and as an empty text', image: { __productcode: '', __backup_id: null, __whole_image: '' } },
  { as: 'a file one byte below 128 GiB', image: { __image_size: 128 * GiB - 1 } },
  { as: 'a quick export of 128 GiB', image: { __image_size: 128 * GiB }, body: quick },
  { as: 'a system disk of 1024 GiB', image: { min_disk: 1024 } },
  { as: 'a data disk of 2048 GiB', image: { min_disk: '2048', virtual_env_type: 'DataImage' } },
  { as: 'an encrypted image, not quickly', image: { __system__cmkid: 'k1' } },
  { as: 'is_quick_export said to be false', body: { is_quick_export: false } },
  { as: 'folders', ...url('exports:a/b/c d-e_f.1.vhd') },
  { as: '128 characters', ...url(`exports:${'a'.repeat(128)}`) },
  { as: 'a bucket in the region', bucket: { region: 'eu-west-9' }, policy: { region: 'eu-west-9' } },
  { as: 'a storage class in small letters', bucket: { storageClass: 'standard' } },
]

/** The case's parts put together with those of an export that breaks no rule. */
export function partsOf({ image, body, roles = ['te_admin'], bucket, jobs }: Omit<ExportCase, 'rule' | 'code'>) {
  return {
    image: image === null ? undefined : { ...goodImage, ...image },
    text: typeof body === 'string' ? body : JSON.stringify({ ...goodBody, ...body }),
    caller: { project: 'p1', roles },
    bucket: { accessible: true, region: undefined, storageClass: 'STANDARD', objectExists: false, ...bucket },
    jobs: { imageClaimed: false, tooMany: false, ...jobs },
  }
}
