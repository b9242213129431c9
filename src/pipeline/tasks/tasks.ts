import { KiB } from '../../bytes/units.ts'
import type { Codec, Packing, PlacedUnits } from '../../formats/format.ts'
import type { SourceFile } from '../../io/source.ts'

/**
 * What crosses between threads: plain data, and nothing else. Offsets and lengths are bytes.
 */

/** Where a task reads the image from: for itself from files, or from bytes that the main thread has read. */
export type TaskInput = { readonly files: readonly SourceFile[] } | StagedInput

/** Runs of the source, one behind the other in `bytes`. A row of `runs` is [host offset, length]. */
export interface StagedInput {
  readonly bytes: Uint8Array
  readonly runs: Float64Array
}
export const STAGED_WIDTH = 2

/** One step in filling a buffer: a row of seven numbers. */
export const OP_WIDTH = 7
export const Op = {
  /** An `OpKind`. */
  kind: 0,
  /** Offset in the buffer. */
  at: 1,
  length: 2,
  /** Offset in the source (`stored`, `packed`) or in `literals` (`literal`). */
  host: 3,
  /** `packed`: bytes in the source, at most. */
  packed: 4,
  /** `packed`: how many of the unpacked bytes come before those that are wanted. */
  skip: 5,
  /** `packed`: index of its codec. */
  codec: 6,
} as const
export const OpKind = { zero: 0, literal: 1, stored: 2, packed: 3 } as const

/** A run of the buffer and its place in the target: [offset in the buffer, length, offset in the target]. */
export const SEGMENT_WIDTH = 3

/**
 * Ops that fill the buffer once, and segments that say where it goes then: [number of the op, of the segment, behind the
 * step's last one]. A task of many steps costs one message, and its buffer stays in the processor's cache.
 */
export const STEP_WIDTH = 2

/** Makes the target's bytes from `start` to `end`. */
export interface FillTask {
  readonly input: TaskInput
  readonly codecs: readonly Codec[]
  readonly start: number
  readonly end: number
  readonly ops: Float64Array
  readonly literals: Uint8Array
  /** What of the buffer goes where; between segments the target is zero and nothing is written. */
  readonly segments: Float64Array
  readonly steps: Float64Array
  /** Hand the bytes over in this memory, in one step; or write each step's to this descriptor. */
  readonly output: { readonly buffer: SharedArrayBuffer } | FileOutput
}

/** A run of zeros at least so long is left out where that is possible: file systems store pages of this size. */
export const MIN_HOLE = 4 * KiB

/** A new file: what nobody writes to it reads as zeros. */
export interface FileOutput {
  readonly fd: number
  readonly name: string
  readonly stepSize: number
  /** Written zeros are written again; otherwise they become holes. */
  readonly keepZeros: boolean
}

export interface FillResult {
  /** CRC-32C of the target's bytes from `start` to `end`, zeros between segments included. */
  readonly crc32c: number
}

/** Packs units of the target, each on its own. */
export interface PackTask extends Pick<FillTask, 'input' | 'codecs' | 'ops' | 'literals'> {
  /** Numbers of the units, ascending; the ops put them one behind the other. */
  readonly units: Float64Array
  readonly unitSize: number
  readonly packing: Packing
  /** Takes the packed units; large enough even if none of them shrinks. */
  readonly buffer: SharedArrayBuffer
}

export interface PackResult {
  /** Where in the buffer each unit is. */
  readonly placed: PlacedUnits
  readonly length: number
  readonly crc32c: number
}

/** Finds which units of the disk hold anything but zeros. */
export interface ScanTask {
  readonly input: TaskInput
  readonly codecs: readonly Codec[]
  readonly unitSize: number
  /** Extent rows, all `stored` or `packed`. */
  readonly extents: Float64Array
}

export interface ScanResult {
  /** Numbers of the units in which something was found, ascending. */
  readonly units: Float64Array
}

/** Guest bytes for a task to look at: the ops put them one behind the other. */
export interface GuestRead extends Pick<FillTask, 'input' | 'codecs' | 'ops' | 'literals'> {
  readonly madeBytes: number
}

/** Hashes whole blocks. */
export interface DigestTask extends GuestRead {
  readonly blockSize: number
}

export interface DigestResult {
  /** SHA-256 of each block, 32 bytes; nothing where the block is zero. */
  readonly leaves: Uint8Array
  /** 1 for each block that is zero. */
  readonly zero: Uint8Array
}

/** Compares the same guest bytes of two images. */
export interface CompareTask {
  /** Those of both. */
  readonly codecs: readonly Codec[]
  readonly first: GuestRead
  readonly second: GuestRead
}

export interface CompareResult {
  /** Bytes before the first that differs. */
  readonly differsAt: number | undefined
}

/** Nothing to do: the answer says that the worker has loaded. */
export interface LoadTask {
  readonly codecs: readonly Codec[]
}

/** All kinds of work that the pool does. */
export interface TaskTypes {
  compare: { task: CompareTask; result: CompareResult }
  digest: { task: DigestTask; result: DigestResult }
  fill: { task: FillTask; result: FillResult }
  load: { task: LoadTask; result: undefined }
  pack: { task: PackTask; result: PackResult }
  scan: { task: ScanTask; result: ScanResult }
}
export type TaskKind = keyof TaskTypes
