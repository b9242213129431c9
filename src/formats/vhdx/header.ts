import { crc32c } from '../../bytes/crc32c.ts'
import { DiskferryError, malformed, tooLarge, truncated } from '../../bytes/errors.ts'
import { asBuffer } from '../../bytes/struct.ts'
import { MiB } from '../../bytes/units.ts'
import { readClipped, readExactly, type Source } from '../../io/source.ts'
import { NO_GUID } from './guid.ts'
import {
  FILE_SIGNATURE,
  HEADER_OFFSETS,
  HEADER_SIGNATURE,
  type Header,
  header,
  LOG_SECTOR,
  LOG_SIGNATURE,
  logEntry,
  MAX_LOG_SIZE,
  REGION_ALIGNMENT,
  VERSION,
} from './spec.ts'

export interface Found<T> {
  readonly value: T
  readonly warnings: readonly string[]
}

/** 2.2.1, 2.2.2: the identifier, and of the two headers the current one. */
export async function readHeader(source: Source): Promise<Found<Header>> {
  const signature = asBuffer(await readClipped(source, 0, FILE_SIGNATURE.length)).toString('latin1')
  if (signature !== FILE_SIGNATURE) {
    throw malformed('VHDX identifier', { found: JSON.stringify(signature), expected: FILE_SIGNATURE, offset: 0 })
  }
  const [first, second] = [await readOne(source, HEADER_OFFSETS[0]), await readOne(source, HEADER_OFFSETS[1])]
  const found = currentOf(first, second)
  const { version } = found.value
  if (version === VERSION) return found
  throw new DiskferryError('unsupported-format', `VHDX version ${version} is not known`, {
    found: version,
    expected: VERSION,
    offset: HEADER_OFFSETS[0] + header.offsetOf('version'),
  })
}

/** The header at `offset`, or what is wrong with it. */
async function readOne(source: Source, offset: number): Promise<Header | string> {
  const bytes = await readClipped(source, offset, header.size)
  if (bytes.length < header.size) return `only ${bytes.length} bytes`
  const fields = header.decode(bytes)
  if (fields.signature !== HEADER_SIGNATURE) return 'no signature'
  return checksumFault(bytes, fields.checksum, header.offsetOf('checksum')) ?? fields
}

function currentOf(first: Header | string, second: Header | string): Found<Header> {
  if (typeof first === 'string' && typeof second === 'string') {
    const found = `${first}; ${second}`
    throw malformed('no VHDX header is whole', { found, expected: 'a header', offset: HEADER_OFFSETS[0] })
  }
  if (typeof second === 'string') return { value: first as Header, warnings: [damaged('second', second, 'header')] }
  if (typeof first === 'string') return { value: second, warnings: [damaged('first', first, 'header')] }
  if (first.sequenceNumber === second.sequenceNumber && first.checksum !== second.checksum) {
    throw malformed('VHDX headers', {
      found: `two of sequence number ${first.sequenceNumber}`,
      expected: 'one that is newer',
      offset: HEADER_OFFSETS[1] + header.offsetOf('sequenceNumber'),
    })
  }
  return { value: first.sequenceNumber >= second.sequenceNumber ? first : second, warnings: [] }
}

/** What is said when one of two copies serves for both. */
export function damaged(which: 'first' | 'second', reason: string, what: string): string {
  return `the ${which} ${what} is damaged (${reason}); the other one was used`
}

/** CRC-32C with the checksum's own field zero. Says what is wrong, when something is. */
export function checksumFault(bytes: Uint8Array, found: number, fieldOffset: number): string | undefined {
  const copy = Buffer.from(bytes)
  copy.writeUInt32LE(0, fieldOffset)
  const computed = crc32c(copy)
  return found === computed ? undefined : `checksum ${found} where the bytes give ${computed}`
}

/**
 * 2.3 "Log": what it holds has still to be written to the tables, which may be torn until then. An entry that belongs
 * to this file counts even where its checksum is wrong: better to refuse than to believe tables that nobody finished.
 */
export async function readLog(source: Source, { logGuid, logLength, logOffset }: Header): Promise<string[]> {
  if (logGuid === NO_GUID) return []
  const offset = assertLog(source, logOffset, logLength)
  for (let at = 0; at < logLength; at += MiB) {
    const bytes = await readExactly(source, offset + at, Math.min(MiB, logLength - at))
    for (let entry = 0; entry + logEntry.size <= bytes.length; entry += LOG_SECTOR) {
      if (isEntry(bytes, entry, logGuid)) throw dirty(offset + at + entry, logGuid)
    }
  }
  return ['the file was not closed cleanly, but its log is empty']
}

function assertLog(source: Source, offset: bigint, length: number): number {
  const place = HEADER_OFFSETS[0] + header.offsetOf('logOffset')
  const end = offset + BigInt(length)
  if (offset % BigInt(REGION_ALIGNMENT) !== 0n || offset === 0n) {
    throw malformed('VHDX log offset', { found: String(offset), expected: 'a multiple of 1 MiB', offset: place })
  }
  if (length > MAX_LOG_SIZE) {
    const at = HEADER_OFFSETS[0] + header.offsetOf('logLength')
    throw tooLarge('VHDX log', { found: length, expected: `at most ${MAX_LOG_SIZE}`, offset: at })
  }
  if (end <= BigInt(source.size)) return Number(offset)
  throw truncated('VHDX log', { found: source.size, expected: String(end), offset: place })
}

function isEntry(bytes: Uint8Array, at: number, logGuid: string): boolean {
  const { signature, logGuid: entryGuid } = logEntry.decode(bytes, at)
  return signature === LOG_SIGNATURE && entryGuid === logGuid
}

function dirty(offset: number, logGuid: string): DiskferryError {
  return new DiskferryError('unsupported-feature', 'the VHDX has a dirty log: changes that are not in its tables yet', {
    found: `log ${logGuid}`,
    expected: 'an empty log',
    offset,
    hint: 'let the host that wrote it open and close it once, or repair it (qemu-img check -r all)',
  })
}
