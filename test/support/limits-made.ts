import type { Source } from '../../src/index.ts'
import { convertToBytes } from './convert.ts'
import { type Limit, limitsOf } from './limits.ts'
import { noise } from './pattern.ts'
import { makeSmallVhdx } from './small-foreign.ts'
import { sparseSource } from './sources.ts'
import * as vhdx from './vhdx-patch.ts'
import { headerChecksum } from './zvhd-decoder.ts'

const MiB = 2 ** 20
const TiB = 2 ** 40
const vhdxLimit = limitsOf('vhdx')

/** Of a VHDX that QEMU made. */
export async function makeVhdxLimits(): Promise<Limit[]> {
  const image = await makeSmallVhdx()
  const changed = (change: (bytes: Buffer) => void) => vhdx.changed(image, change)
  const item = (guid: string, value: bigint) =>
    changed((bytes) => void bytes.writeBigUInt64LE(value, vhdx.itemAt(bytes, guid).item))
  const blockSize = (size: number) =>
    changed((bytes) => void bytes.writeUInt32LE(size, vhdx.itemAt(bytes, vhdx.FILE_PARAMETERS).item))
  const regions = (count: number) =>
    changed((bytes) => {
      bytes.writeUInt32LE(count, vhdx.REGION_TABLES[0] + 8)
      fillIds(bytes, vhdx.REGION_TABLES[0] + 16, 2, count)
    })
  const items = (count: number) =>
    changed((bytes) => {
      const table = vhdx.regionAt(bytes, vhdx.METADATA)
      const first = bytes.readUInt16LE(table + 10)
      bytes.writeUInt16LE(count, table + 10)
      fillIds(bytes, table + 32, first, Math.min(count, 2047))
    })
  const log = (length: number): Source => {
    const used = vhdx.withLog(image, { entry: false })
    const bytes = vhdx.changed(used, (copy) => {
      for (const at of vhdx.HEADERS) copy.writeUInt32LE(length, at + 68)
    })
    return sparseSource(600 * MiB, [{ offset: 0, bytes }])
  }
  return [
    vhdxLimit(['regions', '2047', 'specification'], [regions(2047), regions(2048)], ['too-large', /regions/]),
    vhdxLimit(['metadata entries', '2047', 'specification'], [items(2047), items(2048)], ['too-large', /entries/]),
    vhdxLimit(
      ['block size', '256 MiB', 'specification'],
      [blockSize(256 * MiB), blockSize(512 * MiB)],
      ['malformed', /block size/],
    ),
    vhdxLimit(
      ['virtual disk size', '64 TiB', 'specification'],
      [item(vhdx.DISK_SIZE, BigInt(8 * MiB)), item(vhdx.DISK_SIZE, BigInt(64 * TiB + 512))],
      ['too-large', /disk size/],
    ),
    vhdxLimit(
      ['log length', '256 MiB', 'ours', 'each of its sectors is looked at; 1 MiB is usual'],
      [log(256 * MiB), log(257 * MiB)],
      ['too-large', /log/],
    ),
    vhdxLimit(
      ['metadata item length', '1 MiB', 'specification'],
      [image, changed((bytes) => void bytes.writeUInt32LE(2 ** 31, vhdx.itemAt(bytes, vhdx.DISK_SIZE).entry + 20))],
      ['malformed', /VHDX/],
    ),
    vhdxLimit(
      ['BAT entry', "the file's end", 'specification'],
      [image, changed((bytes) => vhdx.writeBat(bytes, 0, 6, 2 ** 40))],
      ['truncated', /block/],
    ),
    vhdxLimit(
      [
        'BAT entries of one partial block',
        'as many blocks as the file holds',
        'ours',
        "each block's bitmap is read: blocks that all entries share would be read without end",
      ],
      [sharedBlocks(image, 2), sharedBlocks(image, 40)],
      ['malformed', /blocks.*do not overlap/],
    ),
  ]
}

/** Entries of 32 bytes that nobody requires, each with an id of its own. */
function fillIds(bytes: Buffer, table: number, from: number, to: number): void {
  for (let entry = from; entry < to; entry++) bytes.fill(0, table + entry * 32, table + (entry + 1) * 32)
  for (let entry = from; entry < to; entry++) bytes.writeUInt32LE(entry + 1, table + entry * 32)
}

/** `count` blocks of a disk with a parent, in parts in the file, all at the same place. */
function sharedBlocks(image: Buffer, count: number): Buffer {
  const child = vhdx.withParent(image, { parent_linkage: '{x}', relative_path: 'parent.vhdx' })
  const stored = Number(child.readBigUInt64LE(vhdx.regionAt(child, vhdx.BAT)) & ~0xfffffn)
  return vhdx.changed(child, (bytes) => {
    bytes.writeBigUInt64LE(BigInt(count * MiB), vhdx.itemAt(bytes, vhdx.DISK_SIZE).item)
    for (let block = 0; block < count; block++) vhdx.writeBat(bytes, block, 7, stored)
    vhdx.writeBat(bytes, 4096, 6, stored)
  })
}

const FIRST_RECORD = 4096
const PAYLOAD_SIZE = FIRST_RECORD + 12
const BLOCK = FIRST_RECORD + 16

/** Of ZVHDs that are written here. */
export async function makeZvhdLimits(): Promise<Limit[]> {
  const zvhdLimit = limitsOf('zvhd')
  const zvhd2Limit = limitsOf('zvhd2')
  const source = noise(3, 5000 * 512)
  const zvhd = await convertToBytes({ source, from: 'raw', to: 'zvhd' })
  const zvhd2 = await convertToBytes({ source, from: 'raw', to: 'zvhd2' })
  const with32 = (image: Buffer, at: number, value: number) => {
    const bytes = Buffer.from(image)
    bytes.writeUInt32LE(value, at)
    return bytes
  }
  const indexAt = (offset: bigint) => {
    const bytes = Buffer.from(zvhd2)
    const trailer = bytes.length - 4096
    bytes.writeBigUInt64LE(offset, trailer + 96)
    bytes.writeUInt32LE(headerChecksum(bytes.subarray(trailer)), trailer + 64)
    return bytes
  }
  const index = Number(zvhd2.readBigUInt64LE(zvhd2.length - 4096 + 96))
  return [
    zvhdLimit(
      ['payload size', '4 MiB', 'ours', 'a record holds a block of 2 MiB; it is held in memory'],
      [zvhd, with32(zvhd, PAYLOAD_SIZE, 4 * MiB + 1)],
      ['malformed', /payload size/],
    ),
    zvhdLimit(['block', "the disk's last", 'specification'], [zvhd, with32(zvhd, BLOCK, 2)], ['malformed', /block/]),
    zvhd2Limit(
      [
        'index entry, record size',
        '4 MiB and what goes round it',
        'ours',
        'a record holds a block of 2 MiB; it is held in memory',
      ],
      [zvhd2, with32(zvhd2, index + 12, 4 * MiB + 8192)],
      ['malformed', /record size/],
    ),
    zvhd2Limit(
      ['index offset', "the file's end", 'specification'],
      [zvhd2, indexAt(2n ** 40n)],
      ['truncated', /index/],
    ),
    zvhd2Limit(
      ['index entry, block', "the disk's last", 'specification'],
      [zvhd2, with32(zvhd2, index + 8, 2)],
      ['malformed', /block/],
    ),
  ]
}
