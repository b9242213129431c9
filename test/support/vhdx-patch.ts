/**
 * Makes VHDXs that no tool here makes, by changing one of QEMU's. From Microsoft's specification and from nothing else:
 * it shares no code with what it tests. All integers are little-endian.
 */
const KiB = 1024

export const HEADERS = [64 * KiB, 128 * KiB] as const
export const REGION_TABLES = [192 * KiB, 256 * KiB] as const

const REMAINDERS = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0)
  return crc
})

/** CRC-32C, byte by byte. */
function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff
  for (const byte of bytes) crc = (crc >>> 8) ^ (REMAINDERS[(crc ^ byte) & 0xff] as number)
  return ~crc >>> 0
}

/** Makes the checksums of headers and region tables good again, in place, where there are any. */
export function reseal(bytes: Buffer): Buffer {
  for (const at of HEADERS) sealOne(bytes.subarray(at, at + 4 * KiB), 'head')
  for (const at of REGION_TABLES) sealOne(bytes.subarray(at, at + 64 * KiB), 'regi')
  return bytes
}

function sealOne(structure: Buffer, signature: string): void {
  if (structure.length < 4 * KiB || structure.toString('latin1', 0, 4) !== signature) return
  structure.writeUInt32LE(0, 4)
  structure.writeUInt32LE(crc32c(structure), 4)
}

/** A copy with changes, its checksums good. */
export function changed(image: Buffer, change: (bytes: Buffer) => void): Buffer {
  const bytes = Buffer.from(image)
  change(bytes)
  return reseal(bytes)
}

/** Offset of a region, by the first bytes of its GUID in the first region table. */
export function regionAt(image: Buffer, guid: string): number {
  const entry = image.indexOf(Buffer.from(guid, 'hex'), REGION_TABLES[0])
  return Number(image.readBigUInt64LE(entry + 16))
}
export const BAT = '6677c22d23f60042'
export const METADATA = '06a27c8b90479a4b'

/** Place of a metadata item's table entry, and of the item. */
export function itemAt(image: Buffer, guid: string): { entry: number; item: number } {
  const region = regionAt(image, METADATA)
  const entry = image.indexOf(Buffer.from(guid, 'hex'), region)
  return { entry, item: region + image.readUInt32LE(entry + 16) }
}
export const FILE_PARAMETERS = '3767a1ca36fa434d'
export const DISK_SIZE = '2442a52f1bcd7648'
export const SECTOR_SIZE = '1dbf41816fa90947'

/** Gives the image a parent: the flag, and a locator with these keys and values. */
export function withParent(image: Buffer, entries: Readonly<Record<string, string>>): Buffer {
  return changed(image, (bytes) => {
    const { item } = itemAt(bytes, FILE_PARAMETERS)
    bytes.writeUInt32LE(bytes.readUInt32LE(item + 4) | 2, item + 4)
    const region = regionAt(bytes, METADATA)
    const count = bytes.readUInt16LE(region + 10)
    bytes.writeUInt16LE(count + 1, region + 10)
    const entry = region + 32 + count * 32
    const locator = parentLocator(entries)
    Buffer.from('2d5fd3a80bb34d45abf7d3d84834ab0c', 'hex').copy(bytes, entry)
    bytes.writeUInt32LE(128 * KiB, entry + 16)
    bytes.writeUInt32LE(locator.length, entry + 20)
    bytes.writeUInt32LE(4, entry + 24)
    locator.copy(bytes, region + 128 * KiB)
  })
}

function parentLocator(entries: Readonly<Record<string, string>>): Buffer {
  const pairs = Object.entries(entries)
  const table = Buffer.alloc(20 + pairs.length * 12)
  Buffer.from('b7ef4ab09ed1814ab78925b8e9445913', 'hex').copy(table)
  table.writeUInt16LE(pairs.length, 18)
  const texts: Buffer[] = []
  let at = table.length
  for (const [index, pair] of pairs.entries()) {
    for (const [which, value] of pair.entries()) {
      const bytes = Buffer.from(value, 'utf16le')
      table.writeUInt32LE(at, 20 + index * 12 + which * 4)
      table.writeUInt16LE(bytes.length, 20 + index * 12 + 8 + which * 2)
      texts.push(bytes)
      at += bytes.length
    }
  }
  return Buffer.concat([table, ...texts])
}

/** Writes an entry of the block allocation table. */
export function writeBat(bytes: Buffer, index: number, state: number, offset: number): void {
  bytes.writeBigUInt64LE(BigInt(offset) | BigInt(state), regionAt(bytes, BAT) + index * 8)
}

/** Marks the log as in use, in both headers; with `entry`, puts one into it. */
export function withLog(image: Buffer, { entry }: { entry: boolean }): Buffer {
  const guid = Buffer.from('0102030405060708090a0b0c0d0e0f10', 'hex')
  return changed(image, (bytes) => {
    for (const at of HEADERS) guid.copy(bytes, at + 48)
    const log = Number(bytes.readBigUInt64LE(HEADERS[0] + 72))
    if (!entry) return
    bytes.write('loge', log + 8 * KiB, 'latin1')
    guid.copy(bytes, log + 8 * KiB + 32)
  })
}
