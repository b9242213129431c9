import { DiskferryError, tooLarge, truncated } from '../../bytes/errors.ts'
import { size64be, struct, u16be, u32be } from '../../bytes/struct.ts'
import { alignUp } from '../../bytes/units.ts'
import { readClipped, readExactly, type Source } from '../../io/source.ts'
import type { Qcow2Header } from './header.ts'
import { ENTRY_SIZE, headerV3, MAX_L1_BYTES } from './spec.ts'

/** "Snapshots": an entry of the table, without the fields of variable length that follow it. */
const snapshotHeader = struct('qcow2 snapshot', 40, {
  l1TableOffset: [0, size64be],
  l1Size: [8, u32be],
  idLength: [12, u16be],
  nameLength: [14, u16be],
  /** Bytes of extra data in front of id and name. */
  extraSize: [36, u32be],
})
/** Extra data: the disk's size when the snapshot was taken. */
const VIRTUAL_SIZE_OFFSET = 8
/** QEMU's limits (block/qcow2.h). */
const MAX_SNAPSHOTS = 65536
const MAX_EXTRA_SIZE = 1024
/** Snapshots that a message names, and characters of each name. */
const MAX_NAMED = 20
const MAX_SHOWN = 80

export interface Snapshot {
  readonly id: string
  readonly name: string
  readonly l1TableOffset: number
  readonly l1Size: number
  readonly virtualSize: number
}

/**
 * Finds an internal snapshot by its id, or else by its name.
 * @throws DiskferryError `usage`, with the ids and names that there are
 */
export async function findSnapshot(source: Source, header: Qcow2Header, wanted: string): Promise<Snapshot> {
  const all = await readSnapshots(source, header)
  const found = all.find(({ id }) => id === wanted) ?? all.find(({ name }) => name === wanted)
  if (found !== undefined) return found
  const expected = all.length === 0 ? 'there are none' : namesOf(all)
  throw new DiskferryError('usage', `the image has no snapshot ${JSON.stringify(wanted)}`, { found: wanted, expected })
}

/** The first ones: there may be thousands, with names of 64 KiB. */
function namesOf(all: readonly Snapshot[]): string {
  const named = all.slice(0, MAX_NAMED).map(({ id, name }) => `${id.slice(0, MAX_SHOWN)} (${name.slice(0, MAX_SHOWN)})`)
  return all.length > MAX_NAMED ? `${named.join(', ')} and ${all.length - MAX_NAMED} more` : named.join(', ')
}

async function readSnapshots(source: Source, header: Qcow2Header): Promise<Snapshot[]> {
  if (header.nbSnapshots > MAX_SNAPSHOTS) {
    const offset = headerV3.offsetOf('nbSnapshots')
    throw tooLarge('qcow2 snapshots', { found: header.nbSnapshots, expected: `at most ${MAX_SNAPSHOTS}`, offset })
  }
  const snapshots: Snapshot[] = []
  let offset = header.snapshotsOffset
  for (let index = 0; index < header.nbSnapshots; index++) {
    const { snapshot, size } = await readSnapshot(source, header, offset)
    snapshots.push(snapshot)
    offset = alignUp(offset + size, 8)
  }
  return snapshots
}

async function readSnapshot(source: Source, header: Qcow2Header, offset: number) {
  if (offset + snapshotHeader.size > source.size) {
    throw truncated('qcow2 snapshot table', { found: source.size, expected: offset + snapshotHeader.size, offset })
  }
  const fields = snapshotHeader.decode(await readExactly(source, offset, snapshotHeader.size))
  if (fields.extraSize > MAX_EXTRA_SIZE) {
    const at = offset + snapshotHeader.offsetOf('extraSize')
    throw tooLarge('qcow2 snapshot extra data', {
      found: fields.extraSize,
      expected: `at most ${MAX_EXTRA_SIZE}`,
      offset: at,
    })
  }
  const restSize = fields.extraSize + fields.idLength + fields.nameLength
  const rest = Buffer.from(await readClipped(source, offset + snapshotHeader.size, restSize))
  if (rest.length < restSize) throw truncated('qcow2 snapshot', { found: rest.length, expected: restSize, offset })
  const idEnd = fields.extraSize + fields.idLength
  const hasSize = fields.extraSize >= VIRTUAL_SIZE_OFFSET + size64be.size
  const snapshot = {
    id: rest.toString('utf8', fields.extraSize, idEnd),
    name: rest.toString('utf8', idEnd),
    l1TableOffset: fields.l1TableOffset,
    l1Size: fields.l1Size,
    virtualSize: hasSize ? size64be.get(rest, VIRTUAL_SIZE_OFFSET) : header.size,
  }
  assertL1(source, snapshot, offset)
  return { snapshot, size: snapshotHeader.size + restSize }
}

function assertL1(source: Source, { l1TableOffset, l1Size }: Snapshot, offset: number): void {
  if (l1Size * ENTRY_SIZE > MAX_L1_BYTES) {
    throw tooLarge('qcow2 snapshot L1 table', {
      found: l1Size * ENTRY_SIZE,
      expected: `at most ${MAX_L1_BYTES} bytes`,
      offset,
    })
  }
  if (l1TableOffset + l1Size * ENTRY_SIZE > source.size) {
    throw truncated('qcow2 snapshot L1 table', {
      found: source.size,
      expected: l1TableOffset + l1Size * ENTRY_SIZE,
      offset,
    })
  }
}
