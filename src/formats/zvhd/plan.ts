import { DiskferryError } from '../../bytes/errors.ts'
import { packBound } from '../../bytes/pack.ts'
import { alignUp, formatSize, SECTOR, TiB } from '../../bytes/units.ts'
import { type ImageWriter, type PackedLayout, type PackedWriter, PLACED_WIDTH, type PlanInput } from '../format.ts'
import { frames } from '../frames.ts'
import type { OptionTable, OptionValues } from '../options.ts'
import {
  BLOCK_SIZE,
  Compression,
  CREATOR,
  CREATOR_VERSION,
  checksum,
  DISK_TYPE,
  FEATURES,
  HEADER_SIZE,
  NO_DATA_OFFSET,
  packedGeometry,
  SIZE_STEP,
  VERSION,
  ZVHD_COOKIE,
  ZVHD2_COOKIE,
  type ZvhdHeader,
  zvhdHeader,
} from './spec.ts'
import { Zvhd2Tables } from './tables.ts'

/** Ours: block numbers have 32 bits, and the index is held while the file is written. */
const MAX_DISK_SIZE = 64 * TiB

const level = {
  type: 'number',
  min: 1,
  max: 9,
  default: 1,
  help: 'how hard to compress: 1 is fastest, 9 smallest',
} as const
const zvhdOptions = { level } as const satisfies OptionTable
const zvhd2Options = {
  compression: { type: 'choice', values: ['zstd', 'zlib'], default: 'zstd', help: 'how blocks are compressed' },
  level: { ...level, default: 3 },
} as const satisfies OptionTable

/** Plans ZVHD: blocks are segments of one deflate stream, each of which can be inflated on its own. */
export const zvhdWriter: ImageWriter<typeof zvhdOptions> = {
  options: zvhdOptions,
  unitSize,
  plan(input, { level }): PackedLayout {
    const virtualSize = alignUp(input.virtualSize, SECTOR)
    const header = encodeHeader(headerFields(ZVHD_COOKIE, virtualSize, input))
    return {
      kind: 'packed',
      variant: 'zvhd',
      virtualSize,
      sizeAtMost: 2 * HEADER_SIZE + recordsAtMost(input),
      units: input.units,
      packing: {
        codec: 'deflate-segment',
        level,
        frame: 'zvhd-record',
        firstUnit: input.units.next(0),
      },
      lateHead: 0,
      writer: (): PackedWriter => ({ begin: () => header, place: () => NOTHING, end: () => header }),
    }
  },
}

/** Plans ZVHD2: blocks are packed each on its own, and an index at the end says where they are. */
export const zvhd2Writer: ImageWriter<typeof zvhd2Options> = {
  options: zvhd2Options,
  unitSize,
  plan(input, { compression, level }: OptionValues<typeof zvhd2Options>): PackedLayout {
    const virtualSize = alignUp(input.virtualSize, SECTOR)
    const fields = headerFields(ZVHD2_COOKIE, virtualSize, input)
    const tables = () => new Zvhd2Tables(fields, input.units, Compression[compression])
    return {
      kind: 'packed',
      variant: compression,
      virtualSize,
      sizeAtMost: HEADER_SIZE + recordsAtMost(input) + tables().endSizeAtMost,
      units: input.units,
      packing: { codec: compression, level, frame: 'zvhd2-record', firstUnit: input.units.next(0) },
      lateHead: 0,
      writer(): PackedWriter {
        const written = tables()
        return {
          begin: () => written.begin(),
          place(units) {
            for (let row = 0; row < units.length; row += PLACED_WIDTH) {
              const [block = 0, offset = 0, size = 0] = units.subarray(row, row + PLACED_WIDTH)
              written.add(block, offset, size)
            }
            return NOTHING
          },
          end: (end) => written.end(end),
        }
      },
    }
  },
}

const NOTHING = new Uint8Array(0)

function unitSize(virtualSize: number): number {
  if (virtualSize <= MAX_DISK_SIZE) return BLOCK_SIZE
  throw new DiskferryError('target-unfit', `a ZVHD holds at most ${formatSize(MAX_DISK_SIZE)}`, { found: virtualSize })
}

function recordsAtMost({ units }: PlanInput): number {
  return units.count() * (packBound(BLOCK_SIZE) + frames['zvhd-record'].overhead)
}

function headerFields(cookie: string, virtualSize: number, { seed }: PlanInput): ZvhdHeader {
  return {
    cookie,
    features: FEATURES,
    version: VERSION,
    dataOffset: NO_DATA_OFFSET,
    timestamp: 0,
    creator: CREATOR,
    creatorVersion: CREATOR_VERSION,
    creatorHost: 0,
    originalSize: virtualSize,
    currentSize: alignUp(virtualSize, SIZE_STEP),
    geometry: packedGeometry(virtualSize),
    diskType: DISK_TYPE,
    checksum: 0,
    uniqueId: seed.subarray(0, 16),
  }
}

function encodeHeader(fields: ZvhdHeader): Buffer {
  const bytes = zvhdHeader.encode(fields)
  bytes.writeUInt32LE(checksum(bytes), zvhdHeader.offsetOf('checksum'))
  return bytes
}
