import { malformed } from './errors.ts'

/**
 * Tables of fields. A structure of a format is declared once, with each field's offset, width and byte order;
 * the same table decodes and encodes it.
 */

/** One kind of field: how many bytes it takes, and how it is read and written. The byte order is in the name. */
export interface FieldType<T> {
  readonly size: number
  get(from: Buffer, at: number): T
  put(into: Buffer, at: number, value: T): void
}

export const u8: FieldType<number> = {
  size: 1,
  get: (from, at) => from.readUInt8(at),
  put: (into, at, value) => void into.writeUInt8(value, at),
}

export const u16le: FieldType<number> = {
  size: 2,
  get: (from, at) => from.readUInt16LE(at),
  put: (into, at, value) => void into.writeUInt16LE(value, at),
}

export const u16be: FieldType<number> = {
  size: 2,
  get: (from, at) => from.readUInt16BE(at),
  put: (into, at, value) => void into.writeUInt16BE(value, at),
}

export const u32le: FieldType<number> = {
  size: 4,
  get: (from, at) => from.readUInt32LE(at),
  put: (into, at, value) => void into.writeUInt32LE(value, at),
}

export const u32be: FieldType<number> = {
  size: 4,
  get: (from, at) => from.readUInt32BE(at),
  put: (into, at, value) => void into.writeUInt32BE(value, at),
}

export const u64le: FieldType<bigint> = {
  size: 8,
  get: (from, at) => from.readBigUInt64LE(at),
  put: (into, at, value) => void into.writeBigUInt64LE(value, at),
}

export const u64be: FieldType<bigint> = {
  size: 8,
  get: (from, at) => from.readBigUInt64BE(at),
  put: (into, at, value) => void into.writeBigUInt64BE(value, at),
}

/** A 64-bit size or offset that must fit a number: more than 2^53 - 1 is malformed, since no file is that long. */
function safe(type: FieldType<bigint>): FieldType<number> {
  return {
    size: type.size,
    get: (from, at) => toSafeNumber(type.get(from, at), at),
    put: (into, at, value) => type.put(into, at, BigInt(value)),
  }
}

export const size64be = safe(u64be)
export const size64le = safe(u64le)

function toSafeNumber(value: bigint, offset: number): number {
  if (value <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(value)
  throw malformed('a 64-bit size or offset is beyond any file', {
    found: String(value),
    expected: 'at most 2^53 - 1',
    offset,
  })
}

/** `size` bytes as they are. Read as a copy, so that a decoded structure does not keep its window alive. */
export function raw(size: number): FieldType<Uint8Array> {
  return {
    size,
    get: (from, at) => Uint8Array.prototype.slice.call(from, at, at + size),
    put: (into, at, value) => void into.set(value.subarray(0, size), at),
  }
}

/** A fixed number of bytes of Latin-1 text, kept whole: padding belongs to the value. */
export function text(size: number): FieldType<string> {
  return {
    size,
    get: (from, at) => from.toString('latin1', at, at + size),
    put: (into, at, value) => void into.write(value, at, size, 'latin1'),
  }
}

type FieldTable = Readonly<Record<string, readonly [offset: number, type: FieldType<unknown>]>>
type ValueOf<F> = F extends readonly [number, FieldType<infer T>] ? T : never
type ValuesOf<T extends FieldTable> = { [K in keyof T]: ValueOf<T[K]> }
/** The decoded form of a structure. */
export type Values<S> = S extends Struct<infer T> ? ValuesOf<T> : never

/** A structure of fixed size. */
export interface Struct<T extends FieldTable> {
  readonly size: number
  /** Reads all fields at `at`. Throws `malformed` when fewer than `size` bytes are there. */
  decode(from: Uint8Array, at?: number): ValuesOf<T>
  /** A new buffer of `size` bytes holding the fields; what no field covers is zero. */
  encode(values: ValuesOf<T>): Buffer
  /** Offset of one field inside the structure. */
  offsetOf(name: keyof T): number
}

/** Declares a structure. Throws at once when fields overlap or stick out: that is a slip in the table. */
export function struct<const T extends FieldTable>(name: string, size: number, fields: T): Struct<T> {
  const entries = Object.entries(fields) as [keyof T & string, readonly [number, FieldType<unknown>]][]
  assertDisjoint(name, size, entries)
  return {
    size,
    decode(from, at = 0) {
      if (from.length < at + size) {
        throw malformed(`${name} is cut short`, { found: Math.max(0, from.length - at), expected: size, offset: at })
      }
      const view = asBuffer(from)
      const values = entries.map(([key, [offset, type]]) => [key, type.get(view, at + offset)])
      return Object.fromEntries(values)
    },
    encode(values) {
      const into = Buffer.alloc(size)
      for (const [key, [offset, type]] of entries) type.put(into, offset, values[key])
      return into
    },
    offsetOf: (key) => fields[key]?.[0] ?? Number.NaN,
  }
}

function assertDisjoint(name: string, size: number, entries: [string, readonly [number, FieldType<unknown>]][]): void {
  let end = 0
  for (const [key, [offset, type]] of [...entries].sort((a, b) => a[1][0] - b[1][0])) {
    if (offset < end || offset + type.size > size)
      throw new Error(`${name}.${key} overlaps another field or sticks out`)
    end = offset + type.size
  }
}

/** The same bytes as a Buffer, without a copy. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
