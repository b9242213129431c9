import { complementSum } from '../../bytes/complement-sum.ts'
import { DiskferryError, malformed } from '../../bytes/errors.ts'
import { SECTOR } from '../../bytes/units.ts'
import { readClipped, type Source } from '../../io/source.ts'
import { LARGEST_GEOMETRY, sizeOfGeometry } from '../chs.ts'
import { DiskType, FOOTER_COOKIE, FOOTER_SIZE, type Footer, footer, OLD_FOOTER_SIZE } from './spec.ts'

export interface FoundFooter {
  readonly fields: Footer
  /** Where the disk's own bytes end: with the footer at the end, or with the file when that one is damaged. */
  readonly dataEnd: number
  readonly warnings: readonly string[]
}

/**
 * Reads the footer at the end and, in a dynamic disk, its copy in front. Either serves when the other is damaged; a
 * warning says so, and when they show different disks.
 * @throws DiskferryError `malformed` when neither is whole
 */
export async function readFooter(source: Source): Promise<FoundFooter> {
  const last = await readLastFooter(source)
  if (typeof last !== 'string' && last.fields.diskType === DiskType.fixed) return { ...last, warnings: [] }
  const first = decodeFooter(await readClipped(source, 0, FOOTER_SIZE))
  if (typeof last !== 'string') return { ...last, warnings: doubtsOf(first, last.fields) }
  if (typeof first === 'string') {
    const detail = { found: `${last}; in front: ${first}`, expected: `a footer with cookie ${FOOTER_COOKIE}` }
    throw malformed('no VHD footer is whole', { ...detail, offset: Math.max(0, source.size - FOOTER_SIZE) })
  }
  const warning = `the footer at the end is damaged (${last}); its copy in front was used`
  return { fields: first, dataEnd: source.size, warnings: [warning] }
}

/** Fields that decide which disk is shown. */
const DECISIVE = ['diskType', 'dataOffset', 'currentSize', 'cylinders', 'heads', 'sectorsPerTrack'] as const

/** What is odd about the copy in front of a whole footer. */
function doubtsOf(first: Footer | string, last: Footer): string[] {
  if (typeof first === 'string') return [`the copy of the footer in front is damaged (${first})`]
  const other = DECISIVE.filter((name) => first[name] !== last[name])
  if (other.length === 0) return []
  return [`the footer's copy in front has another ${other.join(', ')}: some programs will show another disk`]
}

async function readLastFooter(source: Source): Promise<Omit<FoundFooter, 'warnings'> | string> {
  const offset = Math.max(0, source.size - FOOTER_SIZE)
  const bytes = await readClipped(source, offset, FOOTER_SIZE)
  const found = decodeFooter(bytes)
  if (typeof found !== 'string') return { fields: found, dataEnd: offset }
  const old = Buffer.alloc(FOOTER_SIZE)
  old.set(bytes.subarray(FOOTER_SIZE - OLD_FOOTER_SIZE))
  const foundOld = decodeFooter(old)
  return typeof foundOld === 'string' ? found : { fields: foundOld, dataEnd: source.size - OLD_FOOTER_SIZE }
}

/** The footer, or what is wrong with it. */
function decodeFooter(bytes: Uint8Array): Footer | string {
  if (bytes.length < FOOTER_SIZE) return `only ${bytes.length} bytes`
  if (Buffer.from(bytes).toString('latin1', 0, 8) !== FOOTER_COOKIE) return 'no cookie'
  const fields = footer.decode(bytes)
  const computed = complementSum(bytes.subarray(0, FOOTER_SIZE), footer.offsetOf('checksum'))
  return fields.checksum === computed ? fields : `checksum ${fields.checksum} where the bytes give ${computed}`
}

/** The footer that lies at `offset`, where there is no other. */
export function requireFooter(bytes: Uint8Array, offset: number): Footer {
  const found = decodeFooter(bytes)
  if (typeof found !== 'string') return found
  throw malformed('VHD footer', { found, expected: `a footer with cookie ${FOOTER_COOKIE}`, offset })
}

/** Creators whose geometry, not the size field, is what the guest saw. */
const SIZED_BY_GEOMETRY = new Set(['vpc ', 'qemu'])

/**
 * The disk's size in bytes. Virtual PC and QEMU's default disks are as large as their geometry; all others as their
 * current size says, which may be larger. The table is QEMU's (block/vpc.c).
 */
export function diskSize(fields: Footer): number {
  const isLargest = sizeOfGeometry(fields) === sizeOfGeometry(LARGEST_GEOMETRY)
  if (SIZED_BY_GEOMETRY.has(fields.creator) && !isLargest) return sizeOfGeometry(fields)
  if (fields.currentSize > BigInt(Number.MAX_SAFE_INTEGER) || fields.currentSize % BigInt(SECTOR) !== 0n) {
    const offset = footer.offsetOf('currentSize')
    throw malformed('VHD current size', { found: String(fields.currentSize), expected: 'a multiple of 512', offset })
  }
  return Number(fields.currentSize)
}

export function assertSupportedVersion(fields: Footer, supported: number): void {
  if (fields.version >>> 16 === supported >>> 16) return
  const detail = { found: `0x${fields.version.toString(16)}`, expected: '0x10000', offset: footer.offsetOf('version') }
  throw new DiskferryError('unsupported-feature', `VHD version ${detail.found} is not known`, detail)
}
