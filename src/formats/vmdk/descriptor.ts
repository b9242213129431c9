import { TextDecoder } from 'node:util'
import { type DiskferryError, malformed, tooLarge } from '../../bytes/errors.ts'
import { formatSize } from '../../bytes/units.ts'
import { capacityOf, sectorsToBytes } from './sparse-extent.ts'
import { MAX_DESCRIPTOR_LINES, MAX_DESCRIPTOR_SIZE, MAX_DISK_SIZE, MAX_EXTENTS, NO_PARENT_CID } from './spec.ts'

/** "The Descriptor File": what of it matters to a reader. */
export interface Descriptor {
  readonly createType: string | undefined
  /** Changes with the disk's content: a child knows its parent by it. */
  readonly contentId: string | undefined
  /** Undefined when there is no parent. */
  readonly parent: Parent | undefined
  readonly encryption: string | undefined
  readonly extents: readonly ExtentLine[]
}

export interface Parent {
  /** The file's own name: the rest of its path is that of another machine. */
  readonly name: string
  readonly contentId: string
}

/** `RW 4192256 SPARSE "disk-s001.vmdk"`. Lengths and offsets in bytes. */
export interface ExtentLine {
  readonly access: string
  readonly length: number
  /** `FLAT`, `SPARSE`, `ZERO`, `VMFS`. */
  readonly type: string
  readonly name: string | undefined
  /** Where in its file a flat extent begins. */
  readonly start: number
  /** Offset of the line in its file, for messages. */
  readonly offset: number
}

const EXTENT_LINE = /^(RW|RDONLY|NOACCESS)\s+(\d{1,19})\s+([A-Z]+)(?:\s+"([^"]*)")?(?:\s+(\d{1,19}))?$/
const KEY_LINE = /^([^=\s"]+)\s*=\s*(.*)$/
/** Long enough to be recognised in a message. */
const SHOWN = 80

/**
 * Reads a descriptor, which begins at `base` of its file. Each line must be one that is known: a slip in an extent's
 * line would leave a piece of the disk out.
 */
export function parseDescriptor(bytes: Buffer, base: number): Descriptor {
  if (bytes.length > MAX_DESCRIPTOR_SIZE) {
    const expected = `at most ${formatSize(MAX_DESCRIPTOR_SIZE)}`
    throw tooLarge('VMDK descriptor', { found: bytes.length, expected, offset: base })
  }
  const values = new Map<string, string>()
  const extents: ExtentLine[] = []
  for (const { line, offset } of linesOf(bytes, base)) {
    if (/^(RW|RDONLY|NOACCESS)\b/i.test(line)) extents.push(parseExtent(line, offset))
    else addValue(values, line, offset)
  }
  assertExtents(extents, base)
  return {
    createType: values.get('createtype'),
    contentId: values.get('cid')?.toLowerCase(),
    parent: parentOf(values),
    encryption: encryptionOf(values),
    extents,
  }
}

interface Line {
  readonly line: string
  readonly offset: number
}

/** Lines that say something. An embedded descriptor ends with the first zero byte. */
function* linesOf(bytes: Buffer, base: number): Generator<Line> {
  const zero = bytes.indexOf(0)
  const text = bytes.toString('latin1', 0, zero < 0 ? bytes.length : zero)
  const decoder = decoderOf(text)
  let count = 0
  for (let at = 0; at < text.length; ) {
    if (++count > MAX_DESCRIPTOR_LINES) throw tooManyLines(base + at)
    const newline = text.indexOf('\n', at)
    const end = newline < 0 ? text.length : newline
    const raw = text.slice(at, end)
    const line = (IS_ASCII.test(raw) ? raw : decoder.decode(bytes.subarray(at, end))).trim()
    if (line !== '' && !line.startsWith('#')) yield { line, offset: base + at }
    at = end + 1
  }
}

/** Means the same in every encoding that descriptors state. */
const IS_ASCII = /^[\t\r\x20-\x7e]*$/

function tooManyLines(offset: number): DiskferryError {
  const expected = `at most ${MAX_DESCRIPTOR_LINES}`
  return tooLarge('VMDK descriptor lines', { found: 'more', expected, offset })
}

/**
 * Names are written in the encoding that the descriptor states. The pattern stays within a line: `\s` would run over
 * line ends, from each line anew, and a file of nothing but line ends would take minutes.
 */
function decoderOf(descriptor: string): TextDecoder {
  const label = /^[ \t]*encoding[ \t]*=[ \t]*"?([\w-]{1,40})/im.exec(descriptor)?.[1] ?? 'utf-8'
  try {
    return new TextDecoder(label)
  } catch {
    return new TextDecoder('utf-8')
  }
}

function parseExtent(line: string, offset: number): ExtentLine {
  const match = EXTENT_LINE.exec(line)
  if (match === null) {
    const expected = 'access, sectors, type, "name" and offset'
    throw malformed('VMDK extent line', { found: shown(line), expected, offset })
  }
  const [, access = '', sectors = '0', type = '', name, start = '0'] = match
  return {
    access,
    length: capacityOf(BigInt(sectors), { name: 'VMDK extent length', offset }),
    type,
    name,
    start: sectorsToBytes(BigInt(start), { name: 'VMDK extent offset', offset }),
    offset,
  }
}

/** The disk data base may hold what it likes; of the other keys none may be there twice. */
function addValue(values: Map<string, string>, line: string, offset: number): void {
  const match = KEY_LINE.exec(line)
  if (match === null) {
    throw malformed('VMDK descriptor line', { found: shown(line), expected: 'key = value or an extent', offset })
  }
  const [, name = '', value = ''] = match
  const key = name.toLowerCase()
  if (values.has(key) && !key.startsWith('ddb.')) {
    throw malformed('VMDK descriptor key', { found: `${shown(name)} twice`, expected: 'one of it', offset })
  }
  values.set(key, value.replace(/^"(.*)"$/, '$1'))
}

function assertExtents(extents: readonly ExtentLine[], offset: number): void {
  if (extents.length > MAX_EXTENTS) {
    throw tooLarge('VMDK extents', { found: extents.length, expected: `at most ${MAX_EXTENTS}`, offset })
  }
  const size = extents.reduce((sum, { length }) => sum + length, 0)
  if (size <= MAX_DISK_SIZE) return
  throw tooLarge('VMDK disk size', { found: size, expected: `at most ${formatSize(MAX_DISK_SIZE)}`, offset })
}

function parentOf(values: ReadonlyMap<string, string>): Parent | undefined {
  const contentId = values.get('parentcid')?.toLowerCase()
  if (contentId === undefined || Number.parseInt(contentId, 16) === NO_PARENT_CID) return undefined
  const path = values.get('parentfilenamehint') ?? `content id ${contentId}`
  return { name: path.slice(Math.max(path.lastIndexOf('/'), path.lastIndexOf('\\')) + 1), contentId }
}

/** vSphere keeps the wrapped key in the descriptor, and names the filter that encrypts. */
function encryptionOf(values: ReadonlyMap<string, string>): string | undefined {
  const isEncrypted = values.has('encryptionkeys') || /crypt/i.test(values.get('ddb.iofilters') ?? '')
  return isEncrypted ? 'vSphere virtual machine encryption' : undefined
}

function shown(text: string): string {
  return JSON.stringify(text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text)
}
