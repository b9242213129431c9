import { complementSum } from '../../bytes/complement-sum.ts'
import { DiskferryError } from '../../bytes/errors.ts'
import type { UnitMap } from '../../bytes/unit-map.ts'
import { alignUp, formatSize, GiB, KiB, MiB, SECTOR } from '../../bytes/units.ts'
import { geometryOf } from '../chs.ts'
import type { ExactLayout, ImageWriter, PlanInput, Region } from '../format.ts'
import type { OptionTable, OptionValues } from '../options.ts'
import {
  BAT_ENTRY_SIZE,
  BAT_UNUSED,
  bitmapSize,
  DEFAULT_BLOCK_SIZE,
  DiskType,
  DYNAMIC_COOKIE,
  dynamicHeader,
  FEATURES_RESERVED,
  FOOTER_COOKIE,
  FOOTER_SIZE,
  type Footer,
  footer,
  MAX_DISK_SIZE,
  NO_DATA_OFFSET,
  VERSION,
} from './spec.ts'

const options = {
  subformat: {
    type: 'choice',
    values: ['dynamic', 'fixed'],
    default: 'dynamic',
    help: 'dynamic stores only blocks that hold data; fixed stores the whole disk, as Azure wants it',
  },
  block_size: {
    type: 'size',
    min: 512 * KiB,
    max: 64 * MiB,
    default: DEFAULT_BLOCK_SIZE,
    help: 'bytes in a block of a dynamic disk',
  },
  align: {
    type: 'size',
    min: SECTOR,
    max: GiB,
    default: SECTOR,
    help: 'the disk grows to a multiple of this: 1MiB for Azure',
  },
  uuid: {
    type: 'text',
    pattern: /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i,
    form: 'a UUID',
    help: "the disk's unique id; by default derived from the source",
  },
  timestamp: {
    type: 'number',
    min: 0,
    max: 0xffffffff,
    default: 0,
    help: 'time of creation, seconds since 2000-01-01T00:00:00Z',
  },
} as const satisfies OptionTable
type VhdOptions = OptionValues<typeof options>

/** Plans VHD, dynamic and fixed. */
export const writer: ImageWriter<typeof options> = {
  options,
  unitSize(virtualSize, { subformat, block_size, align }) {
    if (alignUp(virtualSize, align) > MAX_DISK_SIZE) {
      throw new DiskferryError('target-unfit', `a VHD holds at most ${formatSize(MAX_DISK_SIZE)}`, {
        found: virtualSize,
        expected: `at most ${MAX_DISK_SIZE}`,
        hint: 'choose qcow2 or raw',
      })
    }
    return subformat === 'dynamic' ? block_size : undefined
  },
  plan(input, options) {
    const virtualSize = alignUp(input.virtualSize, options.align)
    return options.subformat === 'fixed'
      ? planFixed(virtualSize, input, options)
      : planDynamic(virtualSize, input, options)
  },
}

function planFixed(virtualSize: number, input: PlanInput, options: VhdOptions): ExactLayout {
  const size = virtualSize + FOOTER_SIZE
  const fields = footerFields(virtualSize, input, options, DiskType.fixed, NO_DATA_OFFSET)
  return {
    kind: 'exact',
    size,
    virtualSize,
    variant: 'fixed',
    *regions() {
      if (virtualSize > 0) yield { name: 'disk', kind: 'guest', offset: 0, length: virtualSize, guest: 0 }
      yield bytesRegion('footer', virtualSize, encodeFooter(fields))
    },
  }
}

/** Footer copy, header, BAT, then the stored blocks in ascending order, each behind its bitmap, then the footer. */
function planDynamic(virtualSize: number, input: PlanInput, options: VhdOptions): ExactLayout {
  const blockSize = options.block_size
  const headerOffset = FOOTER_SIZE
  const tableOffset = headerOffset + dynamicHeader.size
  const entries = Math.ceil(virtualSize / blockSize)
  const tableSize = alignUp(entries * BAT_ENTRY_SIZE, SECTOR)
  const firstBlock = tableOffset + tableSize
  const bitmap = Buffer.alloc(bitmapSize(blockSize), 0xff)
  const stride = bitmap.length + blockSize
  const footerOffset = firstBlock + input.units.count() * stride
  const footerBytes = encodeFooter(footerFields(virtualSize, input, options, DiskType.dynamic, BigInt(headerOffset)))

  function* regions(): Generator<Region> {
    yield bytesRegion('footer-copy', 0, footerBytes)
    yield bytesRegion('header', headerOffset, encodeDynamicHeader(tableOffset, entries, blockSize))
    if (tableSize > 0) {
      const bytes = () => encodeTable(input.units, tableSize, firstBlock, stride)
      yield { name: 'bat', kind: 'bytes', offset: tableOffset, length: tableSize, bytes }
    }
    let offset = firstBlock
    for (const { from, to } of input.units.runs()) {
      for (let block = from; block < to; block++, offset += stride) {
        yield bytesRegion('bitmap', offset, bitmap)
        const guest = block * blockSize
        yield { name: 'block', kind: 'guest', offset: offset + bitmap.length, length: blockSize, guest }
      }
    }
    yield bytesRegion('footer', offset, footerBytes)
  }
  return { kind: 'exact', size: footerOffset + FOOTER_SIZE, virtualSize, variant: 'dynamic', regions }
}

function bytesRegion(name: string, offset: number, bytes: Uint8Array): Region {
  return { name, kind: 'bytes', offset, length: bytes.length, bytes: () => bytes }
}

function encodeTable(blocks: UnitMap, tableSize: number, firstBlock: number, stride: number): Buffer {
  const table = Buffer.alloc(tableSize, BAT_UNUSED & 0xff)
  let offset = firstBlock
  for (const { from, to } of blocks.runs()) {
    for (let block = from; block < to; block++, offset += stride) {
      table.writeUInt32BE(offset / SECTOR, block * BAT_ENTRY_SIZE)
    }
  }
  return table
}

/**
 * A creator whose size field every reader trusts: older QEMU takes the geometry, which is smaller, for creators that
 * it does not know.
 */
const CREATOR = 'win '
const CREATOR_VERSION = 0x000a0000
const CREATOR_HOST = 'Wi2k'

function footerFields(
  virtualSize: number,
  { seed }: PlanInput,
  { uuid, timestamp }: VhdOptions,
  diskType: number,
  dataOffset: bigint,
): Footer {
  return {
    cookie: FOOTER_COOKIE,
    features: FEATURES_RESERVED,
    version: VERSION,
    dataOffset,
    timestamp,
    creator: CREATOR,
    creatorVersion: CREATOR_VERSION,
    creatorHost: CREATOR_HOST,
    originalSize: BigInt(virtualSize),
    currentSize: BigInt(virtualSize),
    ...geometryOf(virtualSize),
    diskType,
    checksum: 0,
    uniqueId: uuid === undefined ? uuidFrom(seed) : Buffer.from(uuid.replaceAll('-', ''), 'hex'),
    savedState: 0,
  }
}

/** RFC 9562, section 5.8: a UUID of our own making has version 8. */
function uuidFrom(seed: Uint8Array): Buffer {
  const uuid = Buffer.from(seed.subarray(0, 16))
  uuid[6] = 0x80 | ((uuid[6] as number) & 0x0f)
  uuid[8] = 0x80 | ((uuid[8] as number) & 0x3f)
  return uuid
}

function encodeFooter(fields: Footer): Buffer {
  const bytes = footer.encode(fields)
  const offset = footer.offsetOf('checksum')
  bytes.writeUInt32BE(complementSum(bytes, offset), offset)
  return bytes
}

function encodeDynamicHeader(tableOffset: number, entries: number, blockSize: number): Buffer {
  const bytes = dynamicHeader.encode({
    cookie: DYNAMIC_COOKIE,
    dataOffset: NO_DATA_OFFSET,
    tableOffset: BigInt(tableOffset),
    version: VERSION,
    maxTableEntries: entries,
    blockSize,
    checksum: 0,
    parentUniqueId: new Uint8Array(16),
    parentTimestamp: 0,
    parentName: new Uint8Array(512),
  })
  const offset = dynamicHeader.offsetOf('checksum')
  bytes.writeUInt32BE(complementSum(bytes, offset), offset)
  return bytes
}
