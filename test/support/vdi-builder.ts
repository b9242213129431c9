/**
 * Builds VDIs from what is publicly known of them; shares no code with what it tests. All integers are little-endian.
 */
export interface VdiDescription {
  readonly size: number
  readonly blockSize: number
  /** Extra bytes before each block. */
  readonly extra?: number
  /** 1 dynamic, 2 fixed, 3 undo, 4 differencing. */
  readonly type?: number
  /** The block map: free, zero, or the block's bytes. Blocks lie in the file in reverse order. */
  readonly blocks: readonly ('free' | 'zero' | Buffer)[]
  readonly version?: number
  readonly sectorSize?: number
  readonly mapOffset?: number
  readonly dataOffset?: number
  /** Entries that the header states. */
  readonly stated?: number
  readonly parent?: Buffer
}

export const MAP_AT = 1024

export function buildVdi(disk: VdiDescription): Buffer {
  const { size, blockSize, blocks, extra = 0 } = disk
  const stored = blocks.filter((block) => typeof block !== 'string')
  const dataOffset = MAP_AT + Math.ceil((blocks.length * 4) / 512) * 512
  const header = Buffer.alloc(MAP_AT)
  header.write('<<< Oracle VM VirtualBox Disk Image >>>\n', 0, 'latin1')
  header.writeUInt32LE(0xbeda107f, 64)
  header.writeUInt32LE(disk.version ?? 0x00010001, 68)
  header.writeUInt32LE(400, 72)
  header.writeUInt32LE(disk.type ?? 1, 76)
  header.writeUInt32LE(disk.mapOffset ?? MAP_AT, 340)
  header.writeUInt32LE(disk.dataOffset ?? dataOffset, 344)
  header.writeUInt32LE(disk.sectorSize ?? 512, 360)
  header.writeBigUInt64LE(BigInt(size), 368)
  header.writeUInt32LE(blockSize, 376)
  header.writeUInt32LE(extra, 380)
  header.writeUInt32LE(disk.stated ?? blocks.length, 384)
  header.writeUInt32LE(stored.length, 388)
  Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex').copy(header, 392)
  disk.parent?.copy(header, 424)
  const map = Buffer.alloc(dataOffset - MAP_AT)
  let next = stored.length
  for (const [index, block] of blocks.entries()) {
    const entry = block === 'free' ? 0xffffffff : block === 'zero' ? 0xfffffffe : --next
    map.writeUInt32LE(entry, index * 4)
  }
  const data = stored.toReversed().flatMap((block) => [Buffer.alloc(extra, 0xee), Buffer.concat([block], blockSize)])
  return Buffer.concat([header, map, ...data])
}
