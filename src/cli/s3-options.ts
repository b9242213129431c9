import { parseSize } from '../bytes/units.ts'
import { DiskferryError, type ObjectParameters, type S3TargetOptions } from '../index.ts'
import { parseOptions } from './format-options.ts'

type Given = Omit<S3TargetOptions, 'client' | 'bucket' | 'key'>

/** What of `S3TargetOptions` each key of `--s3` sets. */
const SETTINGS: Readonly<Record<string, (value: string) => Given>> = {
  'part-size': (value) => ({ partSize: parseSize(value) ?? Number.NaN }),
  concurrency: (value) => ({ concurrency: Number(value) }),
  'equal-parts': (value) => ({ equalParts: oneOf('equal-parts', value, ['true', 'false']) === 'true' }),
  checksums: (value) => ({ checksums: oneOf('checksums', value, ['crc32c', 'none']) }),
  payload: (value) => ({ payload: oneOf('payload', value, ['unsigned', 'sha256']) }),
}

/** What of the object each key sets: the store judges the values. */
const PARAMETERS: Readonly<Record<string, keyof ObjectParameters>> = {
  'content-type': 'ContentType',
  'storage-class': 'StorageClass',
  acl: 'ACL',
  sse: 'ServerSideEncryption',
  'kms-key': 'SSEKMSKeyId',
}

export const S3_OPTIONS_HELP = [...Object.keys(SETTINGS), ...Object.keys(PARAMETERS), 'tag.NAME', 'meta.NAME'].join(
  ', ',
)

/**
 * Reads the values of `--s3`.
 * @throws DiskferryError `usage` for a key or value that is none
 */
export function parseS3Options(given: readonly string[] = []): Given {
  const tags = new URLSearchParams()
  const parameters: Record<string, unknown> = {}
  const metadata: Record<string, string> = {}
  let settings: Given = {}
  for (const [key, value] of Object.entries(parseOptions(given))) {
    const setting = Object.hasOwn(SETTINGS, key) ? SETTINGS[key] : undefined
    const parameter = Object.hasOwn(PARAMETERS, key) ? PARAMETERS[key] : undefined
    if (setting !== undefined) settings = { ...settings, ...setting(value) }
    else if (parameter !== undefined) parameters[parameter] = value
    else if (key.startsWith('tag.')) tags.set(key.slice(4), value)
    else if (key.startsWith('meta.')) metadata[key.slice(5)] = value
    else throw new DiskferryError('usage', `--s3 ${key} is no option`, { found: key, expected: S3_OPTIONS_HELP })
  }
  if (tags.size > 0) parameters.Tagging = tags.toString()
  return { ...settings, parameters: { ...parameters, Metadata: metadata } as ObjectParameters }
}

function oneOf<const T extends string>(key: string, value: string, allowed: readonly T[]): T {
  const found = allowed.find((candidate) => candidate === value)
  if (found !== undefined) return found
  throw new DiskferryError('usage', `--s3 ${key}=${value} does not do`, {
    found: value,
    expected: allowed.join(' or '),
  })
}
