/**
 * Makes fixtures/hostile again: node --import ./scripts/typescript.mjs scripts/make-hostile.ts
 * Each file once was too much for a reader (here or elsewhere), or is the plainest of its kind.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { deflateRawSync, gzipSync } from 'node:zlib'
import { buildQcow2, u64s } from '../test/support/qcow2-builder.ts'
import { root } from '../test/support/run-node.ts'
import { buildVdi, MAP_AT } from '../test/support/vdi-builder.ts'
import { buildVhd } from '../test/support/vhd-builder.ts'
import { descriptor, sparse } from '../test/support/vmdk-builder.ts'

const MiB = 2 ** 20
const folder = join(root, 'fixtures', 'hostile')
/** Beyond this a file is kept packed: nearly all of it is one byte over and over. */
const MOST_PLAIN = 4096

const vmdkText = (fill: string) => Buffer.concat([Buffer.from('# Disk DescriptorFile\n'), Buffer.alloc(MiB - 22, fill)])

function bomb(): Buffer {
  const packed = deflateRawSync(Buffer.alloc(64 * MiB), { level: 9 })
  const sectors = BigInt(Math.ceil(packed.length / 512))
  const entry = (2n ** 62n) | (sectors << (62n - 13n)) | (3n << (62n - 13n)) | (3n * 2n ** 21n)
  return buildQcow2({
    ...{ clusterBits: 21, size: 2n ** 21n, l1: [2n ** 22n] },
    pieces: [
      [2 ** 22, u64s([entry])],
      [3 * 2 ** 21, packed],
    ],
  })
}

function subclusters(): Buffer {
  const entries = Array.from({ length: 131_072 }, () => [(2n ** 63n) | (6n * 2n ** 20n), 0x5555_5555n]).flat()
  const image = { clusterBits: 21, incompatible: 16n, size: 2n ** 38n, l1: [4n * 2n ** 20n] }
  return buildQcow2({ ...image, pieces: [[4 * MiB, u64s(entries)]], length: 8 * MiB })
}

/** A differencing disk of 16384 blocks that all are the first one. */
function sharedBlocks(): Buffer {
  const bytes = buildVhd({
    ...{ size: 16384 * 4096, blockSize: 4096, diskType: 4, parent: 'parent.vhd' },
    blocks: [{ block: 0, data: Buffer.alloc(4096), bitmap: 0x55 }],
  })
  for (let entry = 1; entry < 16384; entry++) bytes.copy(bytes, 1536 + entry * 4, 1536, 1540)
  return bytes
}

/** A VDI whose blocks all are one, or lie past any file. */
function vdiMap(value: number): Buffer {
  const blocks = ['free', 'zero', Buffer.alloc(4096, 1)] as const
  const bytes = buildVdi({ size: 12288, blockSize: 4096, blocks })
  for (let entry = 0; entry < 3; entry++) bytes.writeUInt32LE(value, MAP_AT + entry * 4)
  return bytes
}

function sharedTables(): Buffer {
  const capacity = 8192n * 512n
  const header = { capacity, grain: 1n }
  const text = descriptor(['RW 4194304 SPARSE "x"'])
  const bytes = Buffer.concat([sparse({ content: Buffer.alloc(MiB), grain: 1 }, header, text)], 65536)
  for (let entry = 0; entry < 8192; entry++) bytes.writeUInt32LE(28, 24 * 512 + entry * 4)
  return bytes
}

function polyglot(): Buffer {
  const footer = Buffer.alloc(512)
  footer.write('conectix', 'latin1')
  return Buffer.concat([buildQcow2({}), footer])
}

const named = (name: string) => buildQcow2({ backing: { offset: 1024, name } })
const extension = (type: number, text: string) => buildQcow2({ extensions: [[type, Buffer.from(text)]] })
const DATA_FILE = 0x44415441

/** By the name of the file, which ends in the format. */
const hostile: Readonly<Record<string, Buffer>> = {
  'shared-l2-tables.qcow2': buildQcow2({
    ...{ size: 2n ** 37n, l1: Array<bigint>(100_000).fill(4096n * 250n) },
    length: MiB,
  }),
  'empty-extensions.qcow2': buildQcow2({
    ...{ clusterBits: 20, pieces: [[104, Buffer.alloc(MiB - 104, '\0\0\0\x01\0\0\0\0', 'latin1')]] },
    length: MiB,
  }),
  'subclusters.qcow2': subclusters(),
  'bomb.qcow2': bomb(),
  'l1-entry-gives-the-l1-table.qcow2': buildQcow2({ l1: [4096n] }),
  'l1-entry-gives-the-header.qcow2': buildQcow2({ l1: [2n ** 63n] }),
  'l1-in-the-header.qcow2': (() => {
    const bytes = buildQcow2({})
    bytes.writeBigUInt64BE(0n, 40)
    return bytes
  })(),
  'size-2-63.qcow2': buildQcow2({ size: 2n ** 63n }),
  'size-2-64.qcow2': buildQcow2({ size: 2n ** 64n - 1n }),
  'size-2-53.qcow2': buildQcow2({ size: 2n ** 53n - 1n, clusterBits: 21 }).subarray(0, 256),
  'backing-file-passwd.qcow2': named('/etc/passwd'),
  'backing-file-nbd.qcow2': named('nbd://127.0.0.1:10809/secret'),
  'backing-file-json.qcow2': named('json:{"driver":"http","url":"http://169.254.169.254/latest/"}'),
  'data-file.qcow2': (() => {
    const bytes = extension(DATA_FILE, '/etc/shadow')
    bytes.writeBigUInt64BE(4n, 72)
    return bytes
  })(),
  'polyglot.qcow2': polyglot(),
  'line-ends.vmdk': vmdkText('\n'),
  'spaces.vmdk': vmdkText(' '),
  'paths.vmdk': descriptor(['RW 4 FLAT "/etc/passwd" 0', 'RW 4 FLAT "../../../../etc/passwd" 0']),
  'device.vmdk': descriptor(['RW 4 VMFSRAW "/dev/zero" 0'], { createType: 'fullDevice' }),
  'shared-tables.vmdk': sharedTables(),
  'shared-blocks.vhd': sharedBlocks(),
  'parent-passwd.vhd': buildVhd({
    ...{ size: 4096, blockSize: 4096, diskType: 4, parent: '../../../etc/passwd' },
    blocks: [],
  }),
  'one-block-for-all.vdi': vdiMap(0),
  'blocks-past-the-end.vdi': vdiMap(0xffff_fff0),
}

mkdirSync(folder, { recursive: true })
for (const [name, bytes] of Object.entries(hostile)) {
  if (bytes.length <= MOST_PLAIN) writeFileSync(join(folder, name), bytes)
  else writeFileSync(join(folder, `${name}.gz`), gzipSync(bytes, { level: 9 }))
}
