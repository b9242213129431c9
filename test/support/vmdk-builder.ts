import { deflateSync } from 'node:zlib'

/**
 * Builds VMDKs that no tool here makes, from VMware's specification and from what is publicly known of ESX's extents,
 * and from nothing else: it shares no code with what it tests. All integers are little-endian, all offsets sectors.
 */
const SECTOR = 512
const GTES = 512

export interface GrainDisk {
  /** The disk's bytes, whole sectors. Grains of zeros are left out. */
  readonly content: Buffer
  /** Sectors in a grain. */
  readonly grain?: number
  /** Grains that are stated to be zero, whatever `content` holds. */
  readonly zeros?: readonly number[]
}

/** Fields that differ from what a writer would put there. */
export interface HeaderFields {
  readonly version?: number
  readonly flags?: number
  readonly capacity?: bigint
  readonly grain?: bigint
  readonly descriptorOffset?: bigint
  readonly descriptorSize?: bigint
  readonly gtesPerGt?: number
  readonly rgdOffset?: bigint
  readonly gdOffset?: bigint
  readonly unclean?: number
  readonly newlines?: string
  readonly algorithm?: number
}

export function sparseHeader(fields: HeaderFields): Buffer {
  const bytes = Buffer.alloc(SECTOR)
  bytes.write('KDMV', 0, 'latin1')
  bytes.writeUInt32LE(fields.version ?? 1, 4)
  bytes.writeUInt32LE(fields.flags ?? 1, 8)
  bytes.writeBigUInt64LE(fields.capacity ?? 0n, 12)
  bytes.writeBigUInt64LE(fields.grain ?? 128n, 20)
  bytes.writeBigUInt64LE(fields.descriptorOffset ?? 1n, 28)
  bytes.writeBigUInt64LE(fields.descriptorSize ?? 20n, 36)
  bytes.writeUInt32LE(fields.gtesPerGt ?? GTES, 44)
  bytes.writeBigUInt64LE(fields.rgdOffset ?? 0n, 48)
  bytes.writeBigUInt64LE(fields.gdOffset ?? 0n, 56)
  bytes.writeBigUInt64LE(128n, 64)
  bytes.writeUInt8(fields.unclean ?? 0, 72)
  bytes.write(fields.newlines ?? '\n \r\n', 73, 'latin1')
  bytes.writeUInt16LE(fields.algorithm ?? 0, 77)
  return bytes
}

export interface DescriptorFields {
  readonly createType?: string
  readonly parentCid?: string
  readonly lines?: readonly string[]
}

export function descriptor(extents: readonly string[], fields: DescriptorFields = {}): Buffer {
  const { createType = 'custom', parentCid = 'ffffffff', lines = [] } = fields
  const text = [
    '# Disk DescriptorFile',
    'version=1',
    'CID=fffffffe',
    `parentCID=${parentCid}`,
    `createType="${createType}"`,
    '',
    '# Extent description',
    ...extents,
    ...lines,
    '# The Disk Data Base',
    '#DDB',
    'ddb.adapterType = "lsilogic"',
    '',
  ]
  return Buffer.from(text.join('\n'))
}

/** Grains in front of their tables, each behind a marker; tables, directory and footer as ESXi writes them. */
export function streamOptimized(disk: GrainDisk, options: { wholeLast?: boolean; name?: string } = {}): Buffer {
  const { content, grain = 128 } = disk
  const sectors = content.length / SECTOR
  const fields = { version: 3, flags: 0x30001, capacity: BigInt(sectors), grain: BigInt(grain), algorithm: 1 }
  const text = descriptor([`RW ${sectors} SPARSE "${options.name ?? 'generated-stream.vmdk'}"`])
  const file = new File()
  file.append(sparseHeader({ ...fields, gdOffset: 0xffff_ffff_ffff_ffffn }))
  file.append(Buffer.concat([text], 127 * SECTOR))
  const directory: number[] = []
  for (const table of tablesOf(disk, GTES)) {
    const entries = Buffer.alloc(GTES * 4)
    for (const { index, bytes } of table) {
      const whole = options.wholeLast ? Buffer.concat([bytes], grain * SECTOR) : bytes
      entries.writeUInt32LE(file.sector, (index % GTES) * 4)
      file.append(grainWithMarker(index * grain, whole))
    }
    directory.push(table.length === 0 ? 0 : file.sector + 1)
    if (table.length === 0) continue
    file.append(marker(4, 1))
    file.append(entries)
  }
  file.append(marker(1, 2))
  const gdOffset = BigInt(file.sector)
  file.append(u32s(directory))
  file.append(marker(1, 3))
  file.append(sparseHeader({ ...fields, gdOffset }))
  file.append(marker(0, 0))
  return file.bytes()
}

/**
 * An uncompressed extent. With a descriptor of its own it is a monolithicSparse disk; without, a part of a split one.
 */
export function sparse(disk: GrainDisk, fields: HeaderFields = {}, text: Buffer | undefined = undefined): Buffer {
  const { content, grain = 128, zeros = [] } = disk
  const tables = [...tablesOf(disk, GTES)]
  const tableSectors = (GTES * 4) / SECTOR
  const first = 24 + Math.ceil((tables.length * 4) / SECTOR)
  const file = new File()
  const embedded = text ? {} : { descriptorOffset: 0n, descriptorSize: 0n }
  const capacity = BigInt(content.length / SECTOR)
  const standard = { flags: 1, capacity, grain: BigInt(grain), gdOffset: 24n, ...embedded }
  file.append(sparseHeader({ ...standard, ...fields }))
  file.append(Buffer.concat([text ?? Buffer.alloc(0)], 23 * SECTOR))
  file.append(u32s(tables.map((_, index) => first + index * tableSectors)))
  let next = first + tables.length * tableSectors
  for (const [index, table] of tables.entries()) {
    const entries = Buffer.alloc(GTES * 4)
    for (const zero of zeros) {
      if (Math.floor(zero / GTES) === index) entries.writeUInt32LE(1, (zero % GTES) * 4)
    }
    for (const stored of table) {
      entries.writeUInt32LE(next, (stored.index % GTES) * 4)
      next += grain
    }
    file.append(entries)
  }
  for (const { bytes } of tables.flat()) file.append(Buffer.concat([bytes], grain * SECTOR))
  return file.bytes()
}

/** ESX's own sparse extent: tables of 4096 entries. */
export function cowd(disk: GrainDisk, fields: { version?: number; gdEntries?: number } = {}): Buffer {
  const { content, grain = 1 } = disk
  const tables = [...tablesOf({ ...disk, grain }, 4096)]
  const directorySectors = Math.ceil((tables.length * 4) / SECTOR)
  const header = Buffer.alloc(4 * SECTOR)
  header.write('COWD', 0, 'latin1')
  header.writeUInt32LE(fields.version ?? 1, 4)
  header.writeUInt32LE(3, 8)
  header.writeUInt32LE(content.length / SECTOR, 12)
  header.writeUInt32LE(grain, 16)
  header.writeUInt32LE(4, 20)
  header.writeUInt32LE(fields.gdEntries ?? tables.length, 24)
  let next = 4 + directorySectors + tables.length * 32
  header.writeUInt32LE(next, 28)
  const file = new File()
  file.append(header)
  file.append(u32s(tables.map((table, index) => (table.length === 0 ? 0 : 4 + directorySectors + index * 32))))
  for (const table of tables) {
    const entries = Buffer.alloc(4096 * 4)
    for (const stored of table) {
      entries.writeUInt32LE(next, (stored.index % 4096) * 4)
      next += grain
    }
    file.append(entries)
  }
  for (const { bytes } of tables.flat()) file.append(Buffer.concat([bytes], grain * SECTOR))
  return file.bytes()
}

/**
 * seSparse: 64-bit entries that count grains of 4 KiB. Grains lie in reverse order, as ESXi's do in no order at all.
 */
export function seSparse(disk: GrainDisk, { replay = 0n, unmapped = [] as readonly number[] } = {}): Buffer {
  const { content, zeros = [] } = disk
  const tables = [...tablesOf({ ...disk, grain: 8 }, 4096)]
  const [directoryAt, tablesAt] = [16n, 24n]
  const grainsAt = tablesAt + BigInt(tables.length * 64)
  const header = Buffer.alloc(SECTOR)
  const words = { 0: 0xcafebaben, 8: 0x200000001n, 16: BigInt(content.length / SECTOR), 24: 8n, 32: 64n }
  const areas = { 80: 1n, 88: 1n, 96: 2n, 104: 2n, 112: 4n, 120: 8n, 128: directoryAt, 136: 8n, 144: tablesAt }
  const rest = { 152: BigInt(tables.length * 64), 192: grainsAt, 200: BigInt(content.length / SECTOR) }
  for (const [at, value] of Object.entries({ ...words, ...areas, ...rest })) header.writeBigUInt64LE(value, Number(at))
  const volatile = Buffer.alloc(15 * SECTOR)
  volatile.writeBigUInt64LE(0xcafecafen, 0)
  volatile.writeBigUInt64LE(replay, 24)
  const stored = tables.flat()
  const file = new File()
  file.append(header)
  file.append(volatile)
  file.append(Buffer.concat([u64s(tables.map((_, index) => 0x1000_0000_0000_0000n | BigInt(index)))], 8 * SECTOR))
  for (const index of tables.keys()) {
    const entries = new Array<bigint>(4096).fill(0n)
    for (const zero of zeros) if (Math.floor(zero / 4096) === index) entries[zero % 4096] = 0x2000_0000_0000_0000n
    for (const grain of unmapped) if (Math.floor(grain / 4096) === index) entries[grain % 4096] = 0x1000_0000_0000_0007n
    for (const [order, grain] of stored.entries()) {
      if (Math.floor(grain.index / 4096) === index) entries[grain.index % 4096] = seEntry(stored.length - 1 - order)
    }
    file.append(u64s(entries))
  }
  for (const { bytes } of stored.toReversed()) file.append(Buffer.concat([bytes], 8 * SECTOR))
  return file.bytes()
}

function seEntry(grain: number): bigint {
  const number = BigInt(grain)
  return 0x3000_0000_0000_0000n | ((number & 0xfffn) << 48n) | (number >> 12n)
}

interface StoredGrain {
  readonly index: number
  readonly bytes: Buffer
}

/** The grains that hold anything, by table. */
function* tablesOf({ content, grain = 128, zeros = [] }: GrainDisk, entries: number): Generator<StoredGrain[]> {
  const grainSize = grain * SECTOR
  const grains = Math.ceil(content.length / grainSize)
  for (let first = 0; first < grains; first += entries) {
    const table: StoredGrain[] = []
    for (let index = first; index < Math.min(grains, first + entries); index++) {
      const bytes = content.subarray(index * grainSize, (index + 1) * grainSize)
      if (!zeros.includes(index) && bytes.some((byte) => byte !== 0)) table.push({ index, bytes })
    }
    yield table
  }
}

function grainWithMarker(sector: number, bytes: Buffer): Buffer {
  const packed = deflateSync(bytes)
  const header = Buffer.alloc(12)
  header.writeBigUInt64LE(BigInt(sector), 0)
  header.writeUInt32LE(packed.length, 8)
  return Buffer.concat([header, packed])
}

export function marker(sectors: number, type: number): Buffer {
  const bytes = Buffer.alloc(SECTOR)
  bytes.writeBigUInt64LE(BigInt(sectors), 0)
  bytes.writeUInt32LE(type, 12)
  return bytes
}

function u32s(values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4)
  for (const [index, value] of values.entries()) bytes.writeUInt32LE(value, index * 4)
  return bytes
}

function u64s(values: readonly bigint[]): Buffer {
  const bytes = Buffer.alloc(values.length * 8)
  for (const [index, value] of values.entries()) bytes.writeBigUInt64LE(value, index * 8)
  return bytes
}

/** Pieces that each begin with a sector. */
class File {
  readonly #pieces: Buffer[] = []
  sector = 0

  append(piece: Buffer): void {
    const sectors = Math.ceil(piece.length / SECTOR)
    this.#pieces.push(Buffer.concat([piece], sectors * SECTOR))
    this.sector += sectors
  }

  bytes(): Buffer {
    return Buffer.concat(this.#pieces)
  }
}
