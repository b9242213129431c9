import { malformed } from '../../bytes/errors.ts'
import { locatorEntry, locatorHeader } from './spec.ts'

export interface Parent {
  /** The file's own name: the rest of its path is that of another machine. */
  readonly name: string
  /** What the parent's header has as its `dataWriteGuid`. */
  readonly id: string | undefined
}

/** Keys that tell where the parent is, the plainest first. */
const NAME_KEYS = ['relative_path', 'absolute_win32_path', 'volume_path', 'parent_linkage']

/** 2.6.2.6: what a locator, which lies at `base` of the file, says of the parent. */
export function readParentLocator(locator: Buffer, base: number): Parent {
  const { count } = locatorHeader.decode(locator)
  if (locatorHeader.size + count * locatorEntry.size > locator.length) {
    const expected = `as many as ${locator.length} bytes hold`
    throw malformed('VHDX parent locator entries', { found: count, expected, offset: base })
  }
  const values = new Map<string, string>()
  for (let i = 0; i < count; i++) {
    const at = locatorHeader.size + i * locatorEntry.size
    const { keyOffset, keyLength, valueOffset, valueLength } = locatorEntry.decode(locator, at)
    const value = textAt(locator, valueOffset, valueLength, base + at)
    values.set(textAt(locator, keyOffset, keyLength, base + at), value)
  }
  const path =
    NAME_KEYS.map((name) => values.get(name)).find((value) => value !== undefined) ?? 'a parent without a name'
  const name = path.slice(Math.max(path.lastIndexOf('/'), path.lastIndexOf('\\')) + 1)
  return { name, id: values.get('parent_linkage')?.replace(/[{}]/g, '').toLowerCase() }
}

function textAt(locator: Buffer, offset: number, length: number, place: number): string {
  if (offset + length <= locator.length) return locator.toString('utf16le', offset, offset + length)
  const found = `${length} bytes at ${offset}`
  throw malformed('VHDX parent locator', { found, expected: `within its ${locator.length} bytes`, offset: place })
}
