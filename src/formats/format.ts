import type { Compressor } from '../bytes/pack.ts'
import type { UnitMap } from '../bytes/unit-map.ts'
import type { CodecName } from '../bytes/unpack.ts'
import type { Companions } from '../io/companions.ts'
import type { SequentialReader } from '../io/sequential-reader.ts'
import type { Source } from '../io/source.ts'
import type { ExtentRows } from './extents.ts'
import type { FrameName } from './frames.ts'
import type { OptionTable, OptionValues } from './options.ts'

/** Formats that images are written in, or that may be named by `--from` and `--to`. */
export type FormatName = 'raw' | 'qcow2' | 'vmdk' | 'vhd' | 'zvhd' | 'zvhd2' | 'vhdx' | 'vdi' | 'parallels'

/** What a probe looks at: the first and the last bytes of a file. A probe never reads anything else. */
export interface ProbeWindow {
  readonly head: Buffer
  readonly tail: Buffer
  /** Bytes of the whole file. */
  readonly size: number
}
export const PROBE_HEAD = 64 * 1024
export const PROBE_TAIL = 1024

/** How packed units are unpacked: plain data, so that any thread can. */
export interface Codec {
  readonly name: CodecName
  /** Guest bytes that each packed unit gives, exactly. */
  readonly unitSize: number
}

/** What an image says of itself, beyond where its bytes are. */
export interface ImageFacts {
  /** `dynamic`, `fixed`, `v3`. */
  readonly variant: string
  /** Features in use, by the words of the format's specification. */
  readonly features: readonly string[]
  /** What is odd but readable, as sentences. */
  readonly warnings: readonly string[]
  /** Names of other files that the image refers to. None of them is ever opened unasked. */
  readonly backingFile?: string
  /** The backing file's format, where the image states it. */
  readonly backingFormat?: string
  /** The parent's unique id, where the image states it. */
  readonly parentId?: string
  readonly dataFile?: string
  /** The method, when guest data is encrypted. */
  readonly encryption?: string
  /** Further fields for people and scripts: cluster size, creator, block count. */
  readonly details: Readonly<Record<string, string | number | boolean>>
}

/**
 * An opened image: where each guest byte lies. The source that it was opened from is the caller's; what companions
 * handed over is the image's.
 */
export interface DiskImage {
  readonly format: FormatName
  /** What extents' host offsets count in: the source that was opened, or all files of a split disk joined. */
  readonly source: Source
  /** Guest bytes, exactly. */
  readonly virtualSize: number
  readonly facts: ImageFacts
  /** What packed extents refer to, by index. */
  readonly codecs?: readonly Codec[]
  /** Bytes in the middle can be had only after much that comes before has been unpacked. */
  readonly unpacksFromStart?: boolean
  /**
   * The extents that cover guest bytes `start` to `end`, ascending and without gaps, in batches. May be asked any
   * number of times; tables are read as they are needed, so nothing is held in proportion to the disk.
   * @throws DiskferryError `malformed`, `truncated` or `unsupported-feature`, with offset, for a table that lies
   */
  extents(start?: number, end?: number): AsyncIterable<ExtentRows>
  /** Closes the files that companions handed over. Whoever opened the image calls it, when nothing reads any more. */
  close?(): Promise<void>
}

/** An image that is read front to back, once: its disk's bytes come in the order of the disk. */
export interface DiskStream {
  readonly format: FormatName
  /** Guest bytes; undefined where only the end tells. */
  readonly virtualSize: number | undefined
  readonly facts: ImageFacts
  readonly codecs: readonly Codec[]
  /**
   * Runs of guest bytes, ascending; what they leave out reads as zeros. Asked for once; it ends when everything up to
   * the source's last byte has been checked.
   * @throws DiskferryError `malformed`, `truncated` or `corrupt-data`, with offset
   */
  pieces(): AsyncIterable<DiskPiece>
}

/** A run of guest bytes, as they are or packed. */
export interface DiskPiece {
  readonly guest: number
  /** Guest bytes. */
  readonly length: number
  readonly bytes: Uint8Array
  /** Offset in the source, for messages. */
  readonly offset: number
  /** For packed bytes: which of the codecs unpacks them. */
  readonly codec?: number
}

/** One run of the target's bytes, in the order of its offsets. */
export type Region = RegionPlace &
  (
    | { readonly kind: 'bytes'; bytes(): Uint8Array }
    /** Guest bytes from `guest` on. What lies past the disk's end reads as zeros. */
    | { readonly kind: 'guest'; readonly guest: number }
    | { readonly kind: 'zero' }
  )

interface RegionPlace {
  /** `footer`, `bat`, `l2-table`: the specification's word. */
  readonly name: string
  /** Offset in the target, bytes. */
  readonly offset: number
  readonly length: number
}

/** Where every guest byte will lie: known exactly, or as far as it can be before the bytes are packed. */
export type Layout = ExactLayout | PackedLayout

interface LayoutFacts {
  /** Guest bytes that the target will show: the source's, or more where the format can't hold that size. */
  readonly virtualSize: number
  readonly variant: string
}

/** A target's bytes, all accounted for, before any of them exists. */
export interface ExactLayout extends LayoutFacts {
  readonly kind: 'exact'
  /** Bytes of the target, exactly. */
  readonly size: number
  /** Regions from 0 to `size`, ascending and without gaps. May be walked any number of times. */
  regions(): Iterable<Region>
}

/**
 * A target whose units are packed: where each of them lies is known only when those before it have been made. It is
 * written front to back; at most its head comes last.
 */
export interface PackedLayout extends LayoutFacts {
  readonly kind: 'packed'
  /** Bytes of the target, at most. */
  readonly sizeAtMost: number
  /** The units that are packed; all others read as zeros. */
  readonly units: UnitMap
  readonly packing: Packing
  /** Units that one table of the format covers: no batch of units crosses a multiple of it. */
  readonly tableSpan?: number
  /** Bytes in front that can be made only at the end; 0 when there are none. */
  readonly lateHead: number
  writer(): PackedWriter
}

/** How units are packed: plain data, so that any thread can. */
export interface Packing {
  readonly codec: CodecName
  readonly level: number
  /** Log2 of the window that a reader needs. Default 15. */
  readonly windowBits?: number
  /** What makes zlib streams. Default: Node's zlib. */
  readonly compressor?: Compressor
  /** What goes round each packed unit. */
  readonly frame: FrameName
  /** The first unit of the target: some frames mark it. */
  readonly firstUnit: number
}

/** Writes what lies between the packed units. Called once for each batch, in order. */
export interface PackedWriter {
  /** Bytes before the first unit; with a late head, its place is zero. */
  begin(): Uint8Array
  /** Takes note of units that lie one behind the other, ending at `end`; gives the bytes that follow them. */
  place(units: PlacedUnits, end: number): Uint8Array
  /** The bytes after everything that `place` gave. */
  end(end: number): Uint8Array
  /** The head that was left out. */
  head?(): Uint8Array
}

/** Rows of [unit, offset in the target, bytes]. */
export type PlacedUnits = Float64Array
export const PLACED_WIDTH = 3

/** What a plan is made from. */
export interface PlanInput {
  /** Guest bytes of the source. */
  readonly virtualSize: number
  /** Which units hold data; its `unitSize` is what the writer asked for. */
  readonly units: UnitMap
  /** 32 bytes that stand for source and options: identifiers are derived from them, never from chance or time. */
  readonly seed: Uint8Array
}

/** What a reader may make use of beside the source. */
export interface ReadContext {
  /** Files that are parts of the image itself, such as a VMDK's extents. Without it, none of them is opened. */
  readonly companions?: Companions | undefined
  /** Other images that this one builds on: backing file, parent, data file. Without it, none of them is opened. */
  readonly backing?: Companions | undefined
  /** Id or name of the internal snapshot to read instead of the active disk. */
  readonly snapshot?: string | undefined
}

/** Reads one format. */
export interface ImageReader {
  /**
   * When it rejects, whatever companions handed over has been closed.
   * @throws DiskferryError naming field, offset, found and expected when the image breaks its specification
   */
  open(source: Source, context?: ReadContext): Promise<DiskImage>
}

/** Writes one format. Pure: plans do no I/O. */
export interface ImageWriter<T extends OptionTable = OptionTable> {
  readonly options: T
  /**
   * Guest bytes in a unit that is either stored or left out; undefined when the layout does not depend on content.
   * @throws DiskferryError `target-unfit` when the format can't hold a disk of `virtualSize` bytes
   */
  unitSize(virtualSize: number, options: OptionValues<T>): number | undefined
  plan(input: PlanInput, options: OptionValues<T>): Layout
}

/** One format: what all its siblings in this folder export. */
export interface ImageFormat {
  readonly name: string
  readonly title: string
  readonly extensions: readonly string[]
  /** The variant's name when the window looks like this format, otherwise undefined. */
  probe(window: ProbeWindow): string | undefined
  readonly reader?: ImageReader
  /** For a format whose files can be read front to back. `isNamed`: the caller said that it is this one. */
  readonly openStream?: (reader: SequentialReader, isNamed: boolean) => Promise<DiskStream>
  readonly writer?: ImageWriter
  /** For a format that is recognised and can't be read: what to do instead. */
  readonly refusal?: string
}
