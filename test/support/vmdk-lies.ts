import type { Lie } from './malformed.ts'
import { patched } from './patch.ts'
import { cowd, descriptor, type HeaderFields, marker, seSparse, sparse, streamOptimized } from './vmdk-builder.ts'

const SECTOR = 512
/** Two grains of 16: the second and the tenth. */
const content = Buffer.alloc(2 ** 20)
content.fill(1, 65_536, 131_072).fill(2, 589_824, 655_360)
const text = descriptor(['RW 2048 SPARSE "disk.vmdk"'])
const directoryAt = 24 * SECTOR
const tableAt = 25 * SECTOR

const withHeader = (fields: HeaderFields) => sparse({ content }, fields, text)
const plain = withHeader({})
const stream = streamOptimized({ content })
const end = stream.length
const footerAt = end - 1024

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

/** The directory of a large disk whose every entry is the same table. */
function oneTableForAll(): Buffer {
  const capacity = 2n ** 31n
  const entries = Buffer.alloc(4 * 2 ** 15, u32(25))
  const image = withHeader({ capacity, gdOffset: BigInt(plain.length / SECTOR) })
  return Buffer.concat([image, entries])
}

const overflowing: readonly (readonly [string, HeaderFields, Partial<Lie>])[] = [
  ['no grain size', { grain: 0n }, { code: 'malformed', offset: 20 }],
  ['a grain of 3 sectors', { grain: 3n }, { code: 'malformed', offset: 20 }],
  ['a grain of 512 TiB', { grain: 2n ** 40n }, { code: 'too-large', offset: 20 }],
  ['a grain that wraps to 0 when made bytes', { grain: 2n ** 55n }, { code: 'malformed', offset: 20 }],
  ['a capacity of 512 TiB', { capacity: 2n ** 40n }, { code: 'too-large', offset: 12 }],
  ['a capacity that wraps 64 bits', { capacity: 2n ** 55n + 2048n }, { code: 'malformed', offset: 12 }],
  ['a capacity beyond its directory', { capacity: 2n ** 36n }, { code: 'truncated', offset: 56 }],
  ['tables without entries', { gtesPerGt: 0 }, { code: 'malformed', offset: 44 }],
  ['tables of 513 entries', { gtesPerGt: 513 }, { code: 'malformed', offset: 44, found: 513 }],
  ['no directory', { gdOffset: 0n }, { code: 'malformed', offset: 56 }],
  ['a directory past the end', { gdOffset: 2n ** 32n }, { code: 'truncated', offset: 56 }],
  ['a directory that wraps to its place', { gdOffset: 2n ** 55n + 24n }, { code: 'malformed', offset: 56 }],
  ['a footer that is not there', { gdOffset: 2n ** 64n - 1n }, { code: 'malformed', offset: plain.length - 1536 }],
  ['version 4', { version: 4 }, { code: 'unsupported-format', found: 4, offset: 4 }],
  ['an unknown flag', { flags: 0x40001 }, { code: 'unsupported-feature', found: '0x00040000', offset: 8 }],
  ['newlines that were changed on the way', { newlines: '\n \n\n' }, { code: 'malformed', offset: 73 }],
  ['compression without its flag', { algorithm: 1 }, { code: 'malformed', offset: 77 }],
  ['another compression', { flags: 0x10001, algorithm: 2 }, { code: 'malformed', offset: 77 }],
  ['markers without compression', { flags: 0x20001 }, { code: 'unsupported-feature', offset: 8 }],
  ['a descriptor of 2 MiB', { descriptorSize: 4096n }, { code: 'too-large', offset: 36 }],
  ['a descriptor past the end', { descriptorOffset: 2n ** 40n }, { code: 'truncated', offset: 28 }],
  ['a descriptor whose place wraps', { descriptorOffset: 2n ** 55n + 1n }, { code: 'malformed', offset: 28 }],
  ['no descriptor', { descriptorOffset: 0n }, { code: 'unsupported-feature' }],
]

const bytesOf = (line: string) => descriptor([line])
const lineAt = descriptor([]).indexOf('# Extent') + '# Extent description\n'.length

export const vmdkLies: readonly Lie[] = [
  ...overflowing.map(([lie, fields, facts]) => ({ lie, image: withHeader(fields), ...facts }) as Lie),
  { lie: 'half a header', image: plain.subarray(0, 300), code: 'malformed' },
  { lie: 'a table past the end', image: patched(plain, directoryAt, u32(1e6)), code: 'truncated', offset: directoryAt },
  { lie: 'a grain past the end', image: patched(plain, tableAt + 4, u32(1e6)), code: 'truncated', offset: tableAt + 4 },
  { lie: 'half its last grain', image: plain.subarray(0, -30_000), code: 'truncated', offset: tableAt + 36 },
  { lie: 'a zero grain without the flag', image: patched(plain, tableAt, u32(1)), code: 'malformed', offset: tableAt },
  { lie: 'one table for all of a disk', image: oneTableForAll(), code: 'malformed' },
  { lie: 'a packed grain past the end', image: patchedTable(stream, 1e6), code: 'truncated' },
  { lie: 'a packed grain in the header', image: patchedTable(stream, 0x40), code: 'corrupt-data' },
  {
    lie: 'a grain that does not unpack',
    image: patched(stream, 128 * SECTOR + 20, [0xff, 0xff]),
    code: 'corrupt-data',
  },
  { lie: 'no end of the stream', image: patched(stream, end - SECTOR, [1]), code: 'malformed', offset: end - SECTOR },
  { lie: 'no footer marker', image: patched(stream, end - 1536 + 12, [2]), code: 'malformed', offset: end - 1536 },
  { lie: 'another magic in the footer', image: patched(stream, footerAt, [0]), code: 'malformed', offset: footerAt },
  {
    lie: 'a footer that knows no better',
    image: patched(stream, footerAt + 56, Buffer.alloc(8, 0xff)),
    code: 'malformed',
    offset: footerAt + 56,
  },
  { lie: 'a stream cut short', image: stream.subarray(0, end - 512), code: 'malformed' },
  { lie: 'a stream of a header alone', image: stream.subarray(0, 1024), code: 'truncated' },
  { lie: 'a line of nothing known', image: bytesOf('RWX 10 FLAT'), code: 'malformed', offset: lineAt },
  { lie: 'an extent without sectors', image: bytesOf('RW FLAT "x" 0'), code: 'malformed', offset: lineAt },
  { lie: 'an extent line with more', image: bytesOf('RW 1 FLAT "x" 0 uuid'), code: 'malformed', offset: lineAt },
  { lie: 'an extent without a name', image: bytesOf('RW 1 FLAT'), code: 'malformed', offset: lineAt },
  { lie: 'an extent of 512 TiB', image: bytesOf('RW 1099511627776 ZERO'), code: 'too-large', offset: lineAt },
  { lie: 'an extent whose size wraps', image: bytesOf('RW 36028797018963968 ZERO'), code: 'malformed', offset: lineAt },
  { lie: 'a sparse extent with an offset', image: bytesOf('RW 1 SPARSE "x" 8'), code: 'malformed', offset: lineAt },
  { lie: 'a raw device', image: bytesOf('RW 1 VMFSRDM "x-rdm.vmdk"'), code: 'unsupported-feature', found: 'VMFSRDM' },
  { lie: 'an extent of no known type', image: bytesOf('RW 1 MAGIC "x"'), code: 'unsupported-feature', found: 'MAGIC' },
  { lie: 'an extent without access', image: bytesOf('NOACCESS 1 ZERO'), code: 'unsupported-feature' },
  { lie: 'two parents', image: bytesOf('parentCID=00000000'), code: 'malformed', offset: lineAt },
  {
    lie: 'extents of 4 PiB in all',
    image: descriptor(Array.from({ length: 64 }, () => 'RW 137438953472 ZERO')),
    code: 'too-large',
  },
  {
    lie: '5000 extents',
    image: descriptor(Array.from({ length: 5000 }, () => 'RW 1 ZERO')),
    code: 'too-large',
    found: 5000,
  },
  {
    lie: 'a descriptor of more than 1 MiB',
    image: Buffer.concat([descriptor([]), Buffer.alloc(2 ** 20, '#\n')]),
    code: 'too-large',
  },
  {
    lie: 'a second extent that is not in this file',
    image: sparse({ content }, {}, descriptor(['RW 2048 SPARSE "a"', 'RW 1 FLAT "b" 0'])),
    code: 'unsupported-feature',
    found: 2,
  },
  { lie: 'a COWD extent alone', image: cowd({ content }), code: 'unsupported-feature', found: 'cowd' },
  { lie: 'a seSparse extent alone', image: seSparse({ content }), code: 'unsupported-feature', found: 'sesparse' },
]

/** The first stored grain of the stream, moved. */
function patchedTable(image: Buffer, sector: number): Buffer {
  const table = image.indexOf(marker(4, 1)) + SECTOR
  return patched(image, table + 4, u32(sector))
}

/** Extents that lie, by the type that their line gives them; each is said to hold 2048 sectors. */
export const extentLies = [
  { lie: 'no header', type: 'SPARSE', image: Buffer.alloc(4096), code: 'malformed' },
  { lie: 'the header of another kind', type: 'VMFSSPARSE', image: sparse({ content }), code: 'malformed' },
  {
    lie: 'half the capacity',
    type: 'SPARSE',
    image: sparse({ content: content.subarray(2 ** 19) }),
    code: 'malformed',
  },
  { lie: 'no capacity', type: 'SPARSE', image: sparse({ content }, { capacity: 0n }), code: 'malformed' },
  { lie: 'too little data', type: 'FLAT', image: content.subarray(512), code: 'truncated' },
  {
    lie: 'too few directory entries',
    type: 'VMFSSPARSE',
    image: cowd({ content }, { gdEntries: 0 }),
    code: 'malformed',
  },
  { lie: 'version 2', type: 'VMFSSPARSE', image: cowd({ content }, { version: 2 }), code: 'unsupported-feature' },
  { lie: 'half a header', type: 'VMFSSPARSE', image: cowd({ content }).subarray(0, 600), code: 'malformed' },
  { lie: 'a grain past the end', type: 'VMFSSPARSE', image: cowd({ content }).subarray(0, -512), code: 'truncated' },
  { lie: 'a journal', type: 'SESPARSE', image: seSparse({ content }, { replay: 1n }), code: 'unsupported-feature' },
  { lie: 'a grain past the end', type: 'SESPARSE', image: seSparse({ content }).subarray(0, -512), code: 'truncated' },
  { lie: 'a table past the end', type: 'SESPARSE', image: seEntry(16, 0x1000_0000_0000_ffffn), code: 'truncated' },
  { lie: 'a directory entry of no type', type: 'SESPARSE', image: seEntry(16, 5n), code: 'malformed' },
  { lie: 'a table entry of no type', type: 'SESPARSE', image: seEntry(24, 0x4000_0000_0000_0000n), code: 'malformed' },
  { lie: 'a grain number of 60 bits', type: 'SESPARSE', image: seEntry(24, 2n ** 62n - 1n), code: 'truncated' },
] as const

function seEntry(sector: number, entry: bigint): Buffer {
  const bytes = seSparse({ content })
  bytes.writeBigUInt64LE(entry, sector * SECTOR)
  return bytes
}
