import { DiskferryError, malformed, tooLarge, truncated } from '../../bytes/errors.ts'
import { formatSize, isPowerOfTwo, SECTOR } from '../../bytes/units.ts'
import { readClipped, type Source } from '../../io/source.ts'
import {
  type Header,
  header,
  ImageType,
  MAP_ENTRY_SIZE,
  MAX_BLOCK_EXTRA,
  MAX_BLOCK_SIZE,
  MAX_DISK_SIZE,
  MIN_BLOCK_SIZE,
  SIGNATURE,
  VERSION,
} from './spec.ts'

/** Reads the header; each size has been held against its limit and against the file's length. */
export async function readHeader(source: Source): Promise<Header> {
  const fields = header.decode(await readClipped(source, 0, header.size))
  assertKnown(fields)
  assertBlocks(fields)
  assertMap(fields, source.size)
  return fields
}

function assertKnown({ signature, version, type, sectorSize }: Header): void {
  if (signature !== SIGNATURE) {
    throw malformed('VDI signature', { found: hex(signature), expected: hex(SIGNATURE), offset: at('signature') })
  }
  if (version !== VERSION) {
    const found = `${version >>> 16}.${version & 0xffff}`
    const detail = { found, expected: '1.1', offset: at('version') }
    throw new DiskferryError('unsupported-format', `VDI version ${found} is not known`, detail)
  }
  if (type !== ImageType.dynamic && type !== ImageType.fixed && type !== ImageType.differencing) {
    const expected = '1 (dynamic), 2 (fixed) or 4 (differencing)'
    const name = type === ImageType.undo ? `${type} (undo)` : String(type)
    const detail = { found: type, expected, offset: at('type') }
    throw new DiskferryError('unsupported-feature', `VDI image type ${name} can't be read`, detail)
  }
  if (sectorSize !== SECTOR) {
    throw malformed('VDI sector size', { found: sectorSize, expected: SECTOR, offset: at('sectorSize') })
  }
}

function assertBlocks({ blockSize, blockExtra, blocks, diskSize }: Header): void {
  if (!isPowerOfTwo(blockSize) || blockSize < MIN_BLOCK_SIZE) {
    const expected = `a power of two of at least ${MIN_BLOCK_SIZE}`
    throw malformed('VDI block size', { found: blockSize, expected, offset: at('blockSize') })
  }
  if (blockSize > MAX_BLOCK_SIZE) throw beyond('VDI block size', blockSize, MAX_BLOCK_SIZE, 'blockSize')
  if (blockExtra > MAX_BLOCK_EXTRA)
    throw beyond('VDI extra bytes of a block', blockExtra, MAX_BLOCK_EXTRA, 'blockExtra')
  if (diskSize > MAX_DISK_SIZE) throw beyond('VDI disk size', diskSize, MAX_DISK_SIZE, 'diskSize')
  const needed = Math.ceil(diskSize / blockSize)
  if (blocks < needed) {
    throw malformed('VDI blocks', {
      found: blocks,
      expected: `at least ${needed} for a disk of ${diskSize} bytes`,
      offset: at('blocks'),
    })
  }
}

/** The map must lie in the file, behind the header. Nothing of it is read here. */
function assertMap({ mapOffset, blocks, dataOffset }: Header, fileSize: number): void {
  const end = mapOffset + blocks * MAP_ENTRY_SIZE
  if (mapOffset < header.size) {
    throw malformed('VDI block map offset', {
      found: mapOffset,
      expected: `at least ${header.size}`,
      offset: at('mapOffset'),
    })
  }
  if (end > fileSize) throw truncated('VDI block map', { found: fileSize, expected: end, offset: at('mapOffset') })
  if (dataOffset < end) {
    throw malformed('VDI data offset', { found: dataOffset, expected: `at least ${end}`, offset: at('dataOffset') })
  }
}

function beyond(what: string, found: number, limit: number, name: keyof Header): DiskferryError {
  return tooLarge(what, { found, expected: `at most ${formatSize(limit)}`, offset: at(name) })
}

function at(name: keyof Header): number {
  return header.offsetOf(name)
}

function hex(value: number): string {
  return `0x${value.toString(16)}`
}
