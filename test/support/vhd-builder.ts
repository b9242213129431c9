/**
 * Builds VHDs that no tool here makes, from Microsoft's specification and from nothing else: it shares no code with
 * what it tests. All integers are big-endian.
 */
export interface VhdDescription {
  /** The footer's current size, bytes. */
  readonly size: number
  /** Its original size, when that is another. */
  readonly originalSize?: number
  readonly blockSize: number
  /** Stored blocks, in the order in which they lie in the file. */
  readonly blocks: readonly VhdBlock[]
  /** 3, dynamic, unless another is wanted. */
  readonly diskType?: number
  readonly creator?: string
  /** Cylinders, heads, sectors per track. */
  readonly geometry?: readonly [number, number, number]
  readonly version?: number
  readonly maxTableEntries?: number
  /** Bytes left free between the header and the table. */
  readonly gap?: number
  /** Name of the parent disk. */
  readonly parent?: string
  /** Bytes of the footer at the end: 511 in files of very old programs. */
  readonly footerLength?: number
  readonly savedState?: number
}

export interface VhdBlock {
  readonly block: number
  readonly data: Uint8Array
  /** What the bitmap's bytes are. Default 0xff. */
  readonly bitmap?: number
}

const SECTOR = 512
const HEADER_AT = 512
const HEADER_LENGTH = 1024
/** Every byte of every disk's unique id, and so of every parent's. */
const UNIQUE_ID = 0x5a

/** A dynamic (or, without blocks and tables of its own, a differencing) disk. */
export function buildVhd(vhd: VhdDescription): Buffer {
  const { blockSize, blocks, gap = 0, footerLength = 512 } = vhd
  const entries = vhd.maxTableEntries ?? Math.ceil(vhd.size / blockSize)
  const tableAt = HEADER_AT + HEADER_LENGTH + gap
  const table = Buffer.alloc(roundUp(Math.max(1, entries) * 4), 0xff)
  const footer = buildFooter(vhd, BigInt(HEADER_AT))
  const parts = [footer, buildHeader(vhd, tableAt, entries), Buffer.alloc(gap), table]
  let at = tableAt + table.length
  for (const { block, data, bitmap = 0xff } of blocks) {
    table.writeUInt32BE(at / SECTOR, block * 4)
    const bitmapBytes = Buffer.alloc(roundUp(Math.ceil(blockSize / SECTOR / 8)), bitmap)
    parts.push(bitmapBytes, Buffer.concat([data], blockSize))
    at += bitmapBytes.length + blockSize
  }
  return Buffer.concat([...parts, footer.subarray(0, footerLength)])
}

/** A fixed disk: the data, then the footer. */
export function buildFixedVhd(vhd: Omit<VhdDescription, 'blocks' | 'blockSize'>, data: Uint8Array): Buffer {
  const footer = buildFooter({ ...vhd, diskType: 2 }, 0xffff_ffff_ffff_ffffn)
  return Buffer.concat([data, footer.subarray(0, vhd.footerLength ?? 512)])
}

function buildFooter(vhd: Omit<VhdDescription, 'blocks' | 'blockSize'>, dataOffset: bigint): Buffer {
  const { size, originalSize = size, diskType = 3, creator = 'win ', geometry = [1, 4, 17] } = vhd
  const footer = Buffer.alloc(512)
  footer.write('conectix', 0, 'latin1')
  footer.writeUInt32BE(2, 8)
  footer.writeUInt32BE(vhd.version ?? 0x00010000, 12)
  footer.writeBigUInt64BE(dataOffset, 16)
  footer.write(creator.padEnd(4), 28, 'latin1')
  footer.write('Wi2k', 36, 'latin1')
  footer.writeBigUInt64BE(BigInt(originalSize), 40)
  footer.writeBigUInt64BE(BigInt(size), 48)
  footer.writeUInt16BE(geometry[0], 56)
  footer.writeUInt8(geometry[1], 58)
  footer.writeUInt8(geometry[2], 59)
  footer.writeUInt32BE(diskType, 60)
  footer.fill(UNIQUE_ID, 68, 84)
  footer.writeUInt8(vhd.savedState ?? 0, 84)
  return resealed(footer, 64)
}

function buildHeader({ blockSize, parent = '' }: VhdDescription, tableAt: number, entries: number): Buffer {
  const header = Buffer.alloc(HEADER_LENGTH)
  header.write('cxsparse', 0, 'latin1')
  header.fill(0xff, 8, 16)
  header.writeBigUInt64BE(BigInt(tableAt), 16)
  header.writeUInt32BE(0x00010000, 24)
  header.writeUInt32BE(entries, 28)
  header.writeUInt32BE(blockSize, 32)
  if (parent !== '') header.fill(UNIQUE_ID, 40, 56)
  Buffer.from(parent, 'utf16le').swap16().copy(header, 64)
  return resealed(header, 36)
}

/** A structure with its checksum, at `field`, made right: the complement of the sum of all its other bytes. */
export function resealed(structure: Uint8Array, field: number): Buffer {
  const bytes = Buffer.from(structure)
  bytes.writeUInt32BE(0, field)
  const sum = bytes.reduce((total, byte) => total + byte, 0)
  bytes.writeUInt32BE(~sum >>> 0, field)
  return bytes
}

function roundUp(length: number): number {
  return Math.ceil(length / SECTOR) * SECTOR
}
