import { limitsOf } from './limits.ts'
import { patched, u32 } from './patch.ts'
import { sparseSource } from './sources.ts'
import { buildVdi, MAP_AT, type VdiDescription } from './vdi-builder.ts'
import { buildVhd, resealed } from './vhd-builder.ts'
import { descriptor, type HeaderFields, sparse } from './vmdk-builder.ts'

const SECTOR = 512
const MiB = 2 ** 20
const GiB = 2 ** 30
const TiB = 2 ** 40

const vhdLimit = limitsOf('vhd')
const vhd = (size: number, blockSize: number, entries?: number) =>
  buildVhd({ size, blockSize, blocks: [], ...(entries !== undefined && { maxTableEntries: entries }) })

/** All `entries` of a differencing disk's table give one block. */
function sharedBlock(entries: number): Buffer {
  const bytes = buildVhd({
    ...{ size: entries * 4096, blockSize: 4096, diskType: 4, parent: 'parent.vhd' },
    blocks: [{ block: 0, data: Buffer.alloc(4096), bitmap: 0x55 }],
  })
  for (let entry = 1; entry < entries; entry++) bytes.copy(bytes, 1536 + entry * 4, 1536, 1540)
  return bytes
}

const oneBlock = () => buildVhd({ size: 4096, blockSize: 4096, blocks: [{ block: 0, data: Buffer.alloc(4096, 1) }] })

function tableAt(offset: bigint): Buffer {
  const bytes = oneBlock()
  bytes.writeBigUInt64BE(offset, 512 + 16)
  return patched(bytes, 512, resealed(bytes.subarray(512, 1536), 36))
}

/** The footer at the end may not be part of a block, but the file's end is all that is held. */
const blockAt = (sector: number) => patched(oneBlock(), 1536, u32(sector))

export const vhdLimits = [
  vhdLimit(
    ['block size', '256 MiB', 'ours', 'what is read of a block is in proportion; 2 MiB is usual'],
    [vhd(GiB, 256 * MiB), vhd(GiB, 512 * MiB)],
    ['too-large', /block size/],
  ),
  vhdLimit(
    ['current size', '2040 GiB', 'specification'],
    [vhd(2040 * GiB, 2 * MiB), vhd(2040 * GiB + SECTOR, 2 * MiB)],
    ['too-large', /disk size/],
  ),
  vhdLimit(
    ['max table entries', 'at least one for each block', 'specification'],
    [vhd(9 * MiB, MiB, 9), vhd(9 * MiB, MiB, 8)],
    ['malformed', /max table entries/],
  ),
  vhdLimit(
    ['table offset', "the file's end", 'specification'],
    [tableAt(1536n), tableAt(2n ** 33n)],
    ['truncated', /table/],
  ),
  vhdLimit(['BAT entry', "the file's end", 'specification'], [blockAt(5), blockAt(6)], ['truncated', /block 0/]),
  vhdLimit(
    [
      'BAT entries of one block',
      'as many blocks as the file holds',
      'ours',
      "each block's bitmap is read: blocks that all entries share would be read without end",
    ],
    [sharedBlock(1), sharedBlock(2)],
    ['malformed', /blocks.*do not overlap/],
  ),
]

const vdiLimit = limitsOf('vdi')
const vdi = (size: number, blockSize: number, extra = 0) =>
  buildVdi({ size, blockSize, extra, blocks: Array<'free'>(Math.ceil(size / blockSize)).fill('free') })
const vdiWith = (fields: Partial<VdiDescription>) =>
  buildVdi({ size: 4096, blockSize: 4096, blocks: [Buffer.alloc(4096, 1)], ...fields })
const vdiEntry = (value: number) => {
  const bytes = vdiWith({})
  bytes.writeUInt32LE(value, MAP_AT)
  return bytes
}
const hugeVdi = (size: number) => {
  const bytes = buildVdi({ size, blockSize: 256 * MiB, blocks: [], stated: 2 ** 22, dataOffset: 32 * MiB })
  return sparseSource(GiB, [{ offset: 0, bytes }])
}

export const vdiLimits = [
  vdiLimit(
    ['block size', '256 MiB', 'ours', 'what is read of a block is in proportion; 2 MiB is usual'],
    [vdi(GiB, 256 * MiB), vdi(GiB, 512 * MiB)],
    ['too-large', /block size/],
  ),
  vdiLimit(
    ['extra bytes of a block', '1 MiB', 'ours', 'VirtualBox writes none'],
    [vdi(MiB, MiB, MiB), vdi(MiB, MiB, MiB + 1)],
    ['too-large', /extra bytes/],
  ),
  vdiLimit(
    ['map offset', "the file's end", 'specification'],
    [vdiWith({}), vdiWith({ mapOffset: 2 ** 31 })],
    ['truncated', /map/],
  ),
  vdiLimit(['map entry', "the file's end", 'specification'], [vdiEntry(0), vdiEntry(1)], ['truncated', /block/]),
  vdiLimit(
    ['disk size', '2^30 - 1 blocks of 1 MiB', 'QEMU', "a block's number is 32 bits, two of them taken"],
    [hugeVdi(0x3fffffff * MiB), hugeVdi(0x3fffffff * MiB + SECTOR)],
    ['too-large', /disk size/],
  ),
]

const vmdkLimit = limitsOf('vmdk')
const lines = (count: number) => Buffer.from(`# Disk DescriptorFile\nRW 1 ZERO\n${'\n'.repeat(count - 2)}`)
const comments = (length: number) => Buffer.concat([Buffer.from('# Disk DescriptorFile\nRW 1 ZERO\n')], length)
const extents = (count: number) => descriptor(Array<string>(count).fill('RW 1 ZERO'))
const text = descriptor(['RW 2048 SPARSE "x"'])
const disk = (fields: HeaderFields, size = 4 * GiB) =>
  sparseSource(size, [{ offset: 0, bytes: sparse({ content: Buffer.alloc(MiB) }, fields, text) }])

/** Each of a directory's entries gives the same table, of 2 KiB. */
function sharedTables(entries: number): Buffer {
  const capacity = BigInt(entries * 512)
  const bytes = Buffer.concat([sparse({ content: Buffer.alloc(MiB), grain: 1 }, { capacity, grain: 1n }, text)], 16384)
  for (let entry = 0; entry < entries; entry++) bytes.writeUInt32LE(28, 24 * SECTOR + entry * 4)
  return bytes
}

function entryAt(sector: number, value: number): Buffer {
  const bytes = Buffer.from(sparse({ content: Buffer.alloc(MiB) }, {}, text))
  bytes.writeUInt32LE(value, sector * SECTOR)
  return bytes
}

export const vmdkLimits = [
  vmdkLimit(
    ['descriptor', '1 MiB', 'ours', 'it is held in memory; those of real disks have some KiB'],
    [comments(MiB), comments(MiB + 1)],
    ['too-large', /descriptor/],
  ),
  vmdkLimit(
    ['descriptor lines', '16384', 'ours', 'each is matched; those of real disks have some dozen'],
    [lines(16384), lines(16385)],
    ['too-large', /descriptor lines/],
  ),
  vmdkLimit(
    ['extents', '4096', 'ours', 'each is a file that is opened'],
    [extents(4096), extents(4097)],
    ['too-large', /extents/],
  ),
  vmdkLimit(
    ['descriptorSize', '1 MiB', 'ours', 'the descriptor is held in memory'],
    [disk({ descriptorSize: 2048n }), disk({ descriptorSize: 2049n })],
    ['too-large', /descriptor/],
  ),
  vmdkLimit(
    ['grainSize', '16 MiB', 'ours', 'a packed grain is held in memory; 64 KiB is usual'],
    [disk({ grain: 32768n }), disk({ grain: 65536n })],
    ['too-large', /grain size/],
  ),
  vmdkLimit(
    ['numGTEsPerGT', '512', 'specification'],
    [disk({ gtesPerGt: 512 }), disk({ gtesPerGt: 513 })],
    ['malformed', /entries of a grain table/],
  ),
  vmdkLimit(
    ['capacity', '64 TiB', 'ours', "vSphere's largest disk has 62 TiB"],
    [disk({ capacity: BigInt((64 * TiB) / SECTOR) }), disk({ capacity: BigInt((64 * TiB) / SECTOR) + 1n })],
    ['too-large', /capacity/],
  ),
  vmdkLimit(
    ['gdOffset', 'less than 2^53 bytes', 'ours', 'whole numbers are exact up to there; no file is longer'],
    [disk({ gdOffset: 24n }), disk({ gdOffset: 2n ** 55n })],
    ['malformed', /grain directory offset/],
  ),
  vmdkLimit(
    ['descriptorOffset', "the file's end", 'specification'],
    [disk({ descriptorOffset: 1n }), disk({ descriptorOffset: 2n ** 40n })],
    ['truncated', /descriptor/],
  ),
  vmdkLimit(
    ['directory entry', "the file's end", 'specification'],
    [entryAt(24, 25), entryAt(24, 10 ** 6)],
    ['truncated', /grain table/],
  ),
  vmdkLimit(
    ['table entry', "the file's end", 'specification'],
    [entryAt(25, 0), entryAt(25, 10 ** 6)],
    ['truncated', /grain/],
  ),
  vmdkLimit(
    [
      'directory entries of one table',
      'as many tables as the file holds',
      'ours',
      'tables that all entries share would be read without end',
    ],
    [sharedTables(8), sharedTables(9)],
    ['malformed', /grain tables.*do not overlap/],
  ),
]
