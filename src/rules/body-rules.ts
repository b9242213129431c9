import { shown } from './attributes.ts'
import { type ExportRule, rule, type Subject } from './export-rule.ts'

/** What a body says, as far as it can be read. */
interface Body {
  readonly bucket_url?: unknown
  readonly file_format?: unknown
  readonly is_quick_export?: unknown
}

function bodyOf(body: unknown): Body | undefined {
  return typeof body === 'object' && body !== null && !Array.isArray(body) ? body : undefined
}

function isEmpty(body: unknown): boolean {
  return body === '' || body === null || body === undefined || Object.keys(bodyOf(body) ?? { x: 0 }).length === 0
}

/** Reads a body's text; what is no JSON stays the text that it is, and breaks a rule as such. */
export function readBody(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text.trim()
  }
}

export function isQuick(body: unknown): boolean {
  return bodyOf(body)?.is_quick_export === true
}

/** A bucket and a file in it, whatever characters they have. */
export function placeOf(body: unknown): { bucket: string; key: string } | undefined {
  const url = bodyOf(body)?.bucket_url
  const colon = typeof url === 'string' ? url.indexOf(':') : -1
  return typeof url === 'string' && colon >= 0 ? { bucket: url.slice(0, colon), key: url.slice(colon + 1) } : undefined
}

/** What is to be written; undefined when the body does not say it as it should. */
export function formatOf(body: unknown): string | undefined {
  const { file_format } = bodyOf(body) ?? {}
  if (isQuick(body)) return file_format === undefined ? 'zvhd2' : undefined
  return typeof file_format === 'string' ? file_format : undefined
}

const MOST_NAME = 128
/** Bytes in an object's key: S3's own limit. The characters are all ASCII. */
const MOST_KEY = 1024
const BUCKET = /^(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/
const NAME = /^[A-Za-z0-9](?:[A-Za-z0-9._ -]*[A-Za-z0-9])?$/

const URL_FORM = 'give bucket_url as <bucket>:<file>, such as exports:disks/centos7.vhd'
const NAME_FORM = 'take letters and digits, between them also "-", ".", "_" and spaces, and "/" between folders'

/** A rule on a body that can be read. */
function onBody(
  code: string,
  name: string,
  description: string,
  explain: string | ((subject: Subject) => string),
  check: (body: Body, subject: Subject) => string | undefined,
): ExportRule {
  return rule('body', code, name, description, explain, (subject) => {
    const body = bodyOf(subject.request.body)
    return body === undefined || isEmpty(body) ? undefined : check(body, subject)
  })
}

/** A rule on a `bucket_url` that can be read. */
function onPlace(
  code: string,
  name: string,
  description: string,
  explain: string,
  check: (bucket: string, key: string) => boolean,
): ExportRule {
  return onBody(code, name, description, explain, (body) => {
    const place = placeOf(body)
    return place === undefined || check(place.bucket, place.key) ? undefined : `bucket_url is ${shown(body.bucket_url)}`
  })
}

const fileOf = (key: string) => key.slice(key.lastIndexOf('/') + 1)
const isShort = (key: string) => key.length <= MOST_KEY && key.split('/').every(({ length }) => length <= MOST_NAME)

/** Rules on what a body asks for. */
export const bodyRules: readonly ExportRule[] = [
  rule('body', 'IMG.0007', 'body-not-empty', 'the body says something', URL_FORM, ({ request }) =>
    isEmpty(request.body) ? 'the body is empty' : undefined,
  ),
  rule('body', 'IMG.0001', 'body-is-json', 'the body is a JSON object', 'send a JSON object', ({ request }) =>
    isEmpty(request.body) || bodyOf(request.body) !== undefined ? undefined : 'the body is no JSON object',
  ),
  onBody('IMG.0017', 'bucket-url', 'bucket_url is <bucket>:<file>', URL_FORM, (body) =>
    placeOf(body) === undefined ? `bucket_url is ${shown(body.bucket_url)}` : undefined,
  ),
  onPlace('IMG.0068', 'bucket-named', 'the bucket has a name', URL_FORM, (bucket) => bucket !== ''),
  onPlace(
    'IMG.0109',
    'bucket-name',
    'the bucket’s name has only characters that it may have',
    'take 3 to 63 of a-z, 0-9, "-" and ".", a letter or digit at both ends',
    (bucket) => bucket === '' || BUCKET.test(bucket),
  ),
  onPlace('IMG.0073', 'file-named', 'the file has a name', URL_FORM, (_, key) => fileOf(key) !== ''),
  onPlace(
    'IMG.0074',
    'file-name-length',
    'the file’s name is not too long',
    `at most ${MOST_NAME} characters in a name, and ${MOST_KEY} with its folders`,
    (_, key) => isShort(key),
  ),
  onPlace(
    'IMG.0075',
    'file-name',
    'the file’s name has only characters that it may have',
    NAME_FORM,
    (_, key) => fileOf(key) === '' || key.split('/').every((name) => NAME.test(name)),
  ),
  onBody(
    'IMG.0072',
    'format',
    'the format is one that may be exported',
    ({ policy }) => `give file_format as one of ${policy.formats.join(', ')}; with is_quick_export true, leave it out`,
    (body, { policy }) => checkFormat(body, policy),
  ),
]

function checkFormat(body: Body, { formats, quickExport }: Subject['policy']): string | undefined {
  const { is_quick_export: quick, file_format: format } = body
  if (![undefined, null, true, false].includes(quick as boolean)) return `is_quick_export is ${shown(quick)}`
  if (quick === true && !quickExport.allowed) return 'is_quick_export is true, which is not offered here'
  if (quick === true) return format === undefined ? undefined : `file_format is ${shown(format)} in a quick export`
  return (formats as readonly unknown[]).includes(format) ? undefined : `file_format is ${shown(format)}`
}
