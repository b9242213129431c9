import type { FieldType } from '../../bytes/struct.ts'

/** Of each of a GUID's bytes as it is written, its place in the file: the first three fields are little-endian. */
const ORDER = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15]

export const NO_GUID = '00000000-0000-0000-0000-000000000000'

/** A GUID as people write it, in lower case. */
export const guid: FieldType<string> = {
  size: 16,
  get(from, at) {
    const hex = Buffer.from(ORDER.map((place) => from.readUInt8(at + place))).toString('hex')
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
  },
  put(into, at, value) {
    const bytes = Buffer.from(value.replaceAll('-', ''), 'hex')
    for (const [index, place] of ORDER.entries()) into.writeUInt8(bytes[index] as number, at + place)
  },
}
