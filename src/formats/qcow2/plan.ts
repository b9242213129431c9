import type { UnitMap } from '../../bytes/unit-map.ts'
import { alignUp, SECTOR } from '../../bytes/units.ts'
import type { ExactLayout, PlanInput, Region } from '../format.ts'
import { type Qcow2Options, tooLargeFor } from './options.ts'
import { CompressionType, ENTRY_SIZE, MAX_REFCOUNT_TABLE_BYTES, REFCOUNT_SIZE, writeCopiedEntry } from './spec.ts'
import { encodeHeader, type HeaderInput } from './write-header.ts'

/** Plans uncompressed qcow2: every place is known before the first byte. */
export function planExact(input: PlanInput, options: Qcow2Options): ExactLayout {
  const plan = placeClusters(input, options)
  const { clusterSize, virtualSize, clusters } = plan
  return {
    kind: 'exact',
    size: clusters * clusterSize,
    virtualSize,
    variant: plan.variant,
    regions: () => regions(plan),
  }
}

/** Where everything is, in clusters. */
interface ClusterPlan {
  readonly virtualSize: number
  readonly variant: string
  readonly version: number
  readonly clusterSize: number
  readonly units: UnitMap
  readonly l1Size: number
  readonly refcountTable: ClusterRun
  readonly refcountBlocks: ClusterRun
  readonly l1Table: ClusterRun
  /** The first L2 table; each is followed by the clusters it maps. */
  readonly firstL2: number
  /** Clusters in the whole file. */
  readonly clusters: number
}

interface ClusterRun {
  readonly first: number
  readonly count: number
}

/** Header, refcount table, refcount blocks, L1 table; then each L2 table with the data clusters that it maps. */
function placeClusters(
  { virtualSize: sourceSize, units }: PlanInput,
  { cluster_size, compat }: Qcow2Options,
): ClusterPlan {
  const virtualSize = alignUp(sourceSize, SECTOR)
  const entriesPerL2 = cluster_size / ENTRY_SIZE
  const l1Size = Math.ceil(units.length / entriesPerL2)
  const l1Clusters = Math.ceil((l1Size * ENTRY_SIZE) / cluster_size)
  const content = 1 + l1Clusters + countL2Tables(units, entriesPerL2) + units.count()
  const { table, blocks } = sizeRefcounts(content, cluster_size)
  if (table * cluster_size > MAX_REFCOUNT_TABLE_BYTES) throw tooLargeFor(virtualSize, cluster_size)
  const refcountTable = { first: 1, count: table }
  const refcountBlocks = { first: 1 + table, count: blocks }
  const l1Table = { first: 1 + table + blocks, count: l1Clusters }
  return {
    virtualSize,
    variant: compat === '1.1' ? 'v3' : 'v2',
    version: compat === '1.1' ? 3 : 2,
    clusterSize: cluster_size,
    units,
    l1Size,
    refcountTable,
    refcountBlocks,
    l1Table,
    firstL2: l1Table.first + l1Clusters,
    clusters: content + table + blocks,
  }
}

/** Guest ranges of L2 tables that map anything, by index. */
function* usedL2Tables(units: UnitMap, entriesPerL2: number): Generator<number> {
  for (let unit = units.next(0); unit < units.length; ) {
    const index = Math.floor(unit / entriesPerL2)
    yield index
    unit = units.next((index + 1) * entriesPerL2)
  }
}

export function countL2Tables(units: UnitMap, entriesPerL2: number): number {
  let count = 0
  for (const _ of usedL2Tables(units, entriesPerL2)) count++
  return count
}

/**
 * Clusters for the refcount table and its blocks. Both are counted by themselves: grow until they cover the file. Each
 * round adds at least one cluster of counts, which covers many, so few rounds are needed.
 */
function sizeRefcounts(content: number, clusterSize: number): { table: number; blocks: number } {
  const countsPerBlock = clusterSize / REFCOUNT_SIZE
  let table = 1
  let blocks = 1
  for (;;) {
    const neededBlocks = Math.ceil((content + table + blocks) / countsPerBlock)
    const neededTable = Math.ceil((neededBlocks * ENTRY_SIZE) / clusterSize)
    if (neededBlocks === blocks && neededTable === table) return { table, blocks }
    blocks = neededBlocks
    table = neededTable
  }
}

function* regions(plan: ClusterPlan): Generator<Region> {
  const { clusterSize, refcountTable, refcountBlocks, l1Table, l1Size } = plan
  yield clusterRegion(plan, 'header', { first: 0, count: 1 }, () => encodeHeader(headerOf(plan)))
  yield clusterRegion(plan, 'refcount-table', refcountTable, () => encodeRefcountTable(plan))
  for (let i = 0; i < refcountBlocks.count; i++) {
    const block = { first: refcountBlocks.first + i, count: 1 }
    yield clusterRegion(plan, 'refcount-block', block, () => encodeRefcountBlock(plan, i))
  }
  if (l1Size > 0) yield clusterRegion(plan, 'l1-table', l1Table, () => encodeL1(plan))
  const entriesPerL2 = clusterSize / ENTRY_SIZE
  let next = plan.firstL2
  for (const index of usedL2Tables(plan.units, entriesPerL2)) {
    const first = index * entriesPerL2
    const firstData = next + 1
    yield clusterRegion(plan, 'l2-table', { first: next, count: 1 }, () => encodeL2(plan, first, firstData))
    next = firstData
    for (const { from, to } of plan.units.runs(first, l2End(plan.units, first, entriesPerL2))) {
      const length = (to - from) * clusterSize
      yield { name: 'data', kind: 'guest', offset: next * clusterSize, length, guest: from * clusterSize }
      next += to - from
    }
  }
}

function l2End(units: UnitMap, first: number, entriesPerL2: number): number {
  return Math.min(units.length, first + entriesPerL2)
}

function clusterRegion(
  { clusterSize }: ClusterPlan,
  name: string,
  { first, count }: ClusterRun,
  bytes: () => Buffer,
): Region {
  return { name, kind: 'bytes', offset: first * clusterSize, length: count * clusterSize, bytes }
}

function headerOf({ version, clusterSize, virtualSize, l1Size, l1Table, refcountTable }: ClusterPlan): HeaderInput {
  return {
    version,
    clusterSize,
    virtualSize,
    l1Size,
    l1TableOffset: l1Size === 0 ? 0 : l1Table.first * clusterSize,
    refcountTableOffset: refcountTable.first * clusterSize,
    refcountTableClusters: refcountTable.count,
    compressionType: CompressionType.deflate,
  }
}

function encodeRefcountTable({ clusterSize, refcountTable, refcountBlocks }: ClusterPlan): Buffer {
  const table = Buffer.alloc(refcountTable.count * clusterSize)
  for (let i = 0; i < refcountBlocks.count; i++) {
    table.writeBigUInt64BE(BigInt((refcountBlocks.first + i) * clusterSize), i * ENTRY_SIZE)
  }
  return table
}

/** A refcount of one. */
const ONE = Buffer.from([0, 1])

/** Every cluster of the file is referred to once. */
function encodeRefcountBlock({ clusterSize, clusters }: ClusterPlan, index: number): Buffer {
  const perBlock = clusterSize / REFCOUNT_SIZE
  const counted = Math.min(perBlock, clusters - index * perBlock)
  const block = Buffer.alloc(clusterSize)
  return block.fill(ONE, 0, counted * REFCOUNT_SIZE)
}

function encodeL1(plan: ClusterPlan): Buffer {
  const { clusterSize, units, l1Table } = plan
  const entriesPerL2 = clusterSize / ENTRY_SIZE
  const table = Buffer.alloc(l1Table.count * clusterSize)
  let next = plan.firstL2
  for (const index of usedL2Tables(units, entriesPerL2)) {
    writeCopiedEntry(table, index * ENTRY_SIZE, next * clusterSize)
    const first = index * entriesPerL2
    next += 1 + units.count(first, l2End(units, first, entriesPerL2))
  }
  return table
}

/** The L2 table that maps guest clusters from `first` on; its data lies at clusters from `firstData` on. */
function encodeL2({ clusterSize, units }: ClusterPlan, first: number, firstData: number): Buffer {
  const table = Buffer.alloc(clusterSize)
  let host = firstData * clusterSize
  for (const { from, to } of units.runs(first, l2End(units, first, clusterSize / ENTRY_SIZE))) {
    for (let unit = from; unit < to; unit++, host += clusterSize) {
      writeCopiedEntry(table, (unit - first) * ENTRY_SIZE, host)
    }
  }
  return table
}
