import { DiskferryError } from '../../bytes/errors.ts'
import type { UnitMap } from '../../bytes/unit-map.ts'
import { alignUp, SECTOR, TiB } from '../../bytes/units.ts'
import type { ExactLayout, PlanInput, Region } from '../format.ts'
import {
  CompressAlgorithm,
  DEFAULT_GRAIN_SIZE,
  ENTRY_SIZE,
  Flag,
  MAX_GTES_PER_GT,
  NEWLINE_TEST,
  SPARSE_MAGIC,
  sparseHeader,
} from './spec.ts'
import { DESCRIPTOR_SECTORS, encodeDescriptor, type VmdkOptions } from './write-descriptor.ts'

const VERSION = 1
const TABLE_SIZE = MAX_GTES_PER_GT * ENTRY_SIZE
/** Tables hold 32-bit sector numbers. */
const MAX_FILE_SIZE = 2 * TiB

/** Offsets in the file, bytes. Both directories are followed by their tables, all of them, used or not. */
interface SparsePlan {
  readonly virtualSize: number
  readonly units: UnitMap
  readonly tables: number
  readonly redundantDirectory: number
  readonly directory: number
  readonly directorySize: number
  readonly firstGrain: number
  readonly size: number
}

/** Plans monolithicSparse: header, descriptor, redundant directory and tables, directory and tables, grains. */
export function planSparse(input: PlanInput, options: VmdkOptions): ExactLayout {
  const virtualSize = alignUp(input.virtualSize, SECTOR)
  const plan = place(virtualSize, input.units)
  if (plan.size > MAX_FILE_SIZE) {
    throw new DiskferryError('target-unfit', 'a monolithicSparse VMDK ends at 2 TiB', {
      found: plan.size,
      hint: 'choose subformat=streamOptimized or qcow2',
    })
  }
  const descriptor = encodeDescriptor(virtualSize, input.seed, options)
  const regions = () => sparseRegions(plan, descriptor)
  return { kind: 'exact', variant: 'monolithicSparse', virtualSize, size: plan.size, regions }
}

function place(virtualSize: number, units: UnitMap): SparsePlan {
  const tables = Math.ceil(units.length / MAX_GTES_PER_GT)
  const directorySize = alignUp(tables * ENTRY_SIZE, SECTOR)
  const redundantDirectory = (1 + DESCRIPTOR_SECTORS) * SECTOR
  const directory = redundantDirectory + directorySize + tables * TABLE_SIZE
  const firstGrain = alignUp(directory + directorySize + tables * TABLE_SIZE, DEFAULT_GRAIN_SIZE)
  const size = firstGrain + units.count() * DEFAULT_GRAIN_SIZE
  return { virtualSize, units, tables, redundantDirectory, directory, directorySize, firstGrain, size }
}

function* sparseRegions(plan: SparsePlan, descriptor: Buffer): Generator<Region> {
  yield { name: 'header', kind: 'bytes', offset: 0, length: SECTOR, bytes: () => encodeHeader(plan) }
  yield { name: 'descriptor', kind: 'bytes', offset: SECTOR, length: descriptor.length, bytes: () => descriptor }
  yield* directoryRegions(plan, 'redundant-', plan.redundantDirectory)
  yield* directoryRegions(plan, '', plan.directory)
  const tablesEnd = plan.directory + plan.directorySize + plan.tables * TABLE_SIZE
  if (tablesEnd < plan.firstGrain) {
    yield { name: 'padding', kind: 'zero', offset: tablesEnd, length: plan.firstGrain - tablesEnd }
  }
  let offset = plan.firstGrain
  for (const { from, to } of plan.units.runs()) {
    const length = (to - from) * DEFAULT_GRAIN_SIZE
    yield { name: 'grains', kind: 'guest', offset, length, guest: from * DEFAULT_GRAIN_SIZE }
    offset += length
  }
}

function* directoryRegions(plan: SparsePlan, prefix: string, offset: number): Generator<Region> {
  const { tables, directorySize, units } = plan
  if (tables === 0) return
  const firstTable = offset + directorySize
  const directory = () => encodeDirectory(plan, firstTable)
  yield { name: `${prefix}grain-directory`, kind: 'bytes', offset, length: directorySize, bytes: directory }
  let grain = plan.firstGrain
  for (let index = 0; index < tables; ) {
    const at = firstTable + index * TABLE_SIZE
    const first = index * MAX_GTES_PER_GT
    const used = Math.min(tables, Math.floor(units.next(first) / MAX_GTES_PER_GT))
    if (used > index) {
      // Tables that map nothing are zero: in a file, a hole.
      yield { name: `${prefix}grain-tables`, kind: 'zero', offset: at, length: (used - index) * TABLE_SIZE }
      index = used
    } else {
      const firstGrain = grain
      const bytes = () => encodeTable(units, first, firstGrain)
      yield { name: `${prefix}grain-table`, kind: 'bytes', offset: at, length: TABLE_SIZE, bytes }
      grain += units.count(first, tableEnd(units, first)) * DEFAULT_GRAIN_SIZE
      index += 1
    }
  }
}

/** The unit behind the last one of the table that maps `first`. */
function tableEnd(units: UnitMap, first: number): number {
  return Math.min(units.length, first + MAX_GTES_PER_GT)
}

function encodeDirectory({ tables, directorySize }: SparsePlan, firstTable: number): Buffer {
  const bytes = Buffer.alloc(directorySize)
  for (let index = 0; index < tables; index++) {
    bytes.writeUInt32LE((firstTable + index * TABLE_SIZE) / SECTOR, index * ENTRY_SIZE)
  }
  return bytes
}

/** The table that maps units from `first` on. */
function encodeTable(units: UnitMap, first: number, firstGrain: number): Buffer {
  const table = Buffer.alloc(TABLE_SIZE)
  let offset = firstGrain
  for (const { from, to } of units.runs(first, tableEnd(units, first))) {
    for (let grain = from; grain < to; grain++, offset += DEFAULT_GRAIN_SIZE) {
      table.writeUInt32LE(offset / SECTOR, (grain - first) * ENTRY_SIZE)
    }
  }
  return table
}

function encodeHeader({ virtualSize, redundantDirectory, directory, firstGrain }: SparsePlan): Buffer {
  return sparseHeader.encode({
    magic: SPARSE_MAGIC,
    version: VERSION,
    flags: Flag.newlineTest | Flag.redundantTable,
    capacity: BigInt(virtualSize / SECTOR),
    grainSize: BigInt(DEFAULT_GRAIN_SIZE / SECTOR),
    descriptorOffset: 1n,
    descriptorSize: BigInt(DESCRIPTOR_SECTORS),
    gtesPerGt: MAX_GTES_PER_GT,
    rgdOffset: BigInt(redundantDirectory / SECTOR),
    gdOffset: BigInt(directory / SECTOR),
    overHead: BigInt(firstGrain / SECTOR),
    uncleanShutdown: 0,
    newlineTest: NEWLINE_TEST,
    compressAlgorithm: CompressAlgorithm.none,
  })
}
