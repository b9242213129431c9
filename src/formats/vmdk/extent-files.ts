import { DiskferryError, malformed, truncated } from '../../bytes/errors.ts'
import { asBuffer } from '../../bytes/struct.ts'
import { SECTOR } from '../../bytes/units.ts'
import { type Companions, isPlainName } from '../../io/companions.ts'
import { readClipped, type Source } from '../../io/source.ts'
import type { ExtentLine } from './descriptor.ts'
import { readCowd, readSeSparse } from './esx-extents.ts'
import { inFile } from './in-file.ts'
import { type FileKind, fileKind } from './probe.ts'
import type { SparseExtent } from './sparse-extent.ts'
import { readSparseFile, sparseExtentOf } from './sparse-file.ts'

/** "Extent types" that can be read, and for those with grains what their file must be. */
const FLAT_TYPES: readonly string[] = ['FLAT', 'VMFS']
const GRAIN_TYPES: Readonly<Record<string, readonly FileKind[]>> = {
  SPARSE: ['sparse', 'cowd'],
  VMFSSPARSE: ['cowd'],
  SESPARSE: ['sesparse'],
}
const ZERO_TYPE = 'ZERO'

export function isFlat({ type }: ExtentLine): boolean {
  return FLAT_TYPES.includes(type)
}

/** An extent without bytes needs no file either. */
export function needsFile({ type, length }: ExtentLine): boolean {
  return type !== ZERO_TYPE && length > 0
}

/** Looks at the line alone, before any file is asked for. */
export function assertReadable({ access, type, name, start, offset }: ExtentLine): void {
  if (type !== ZERO_TYPE && !FLAT_TYPES.includes(type) && !Object.hasOwn(GRAIN_TYPES, type)) {
    const expected = [...FLAT_TYPES, ...Object.keys(GRAIN_TYPES), ZERO_TYPE].join(', ')
    const detail = { found: type, expected, offset, hint: 'devices are converted from the device itself' }
    throw new DiskferryError('unsupported-feature', `VMDK extent type ${type} can't be read`, detail)
  }
  if (access === 'NOACCESS') {
    const detail = { found: access, expected: 'RW or RDONLY', offset }
    throw new DiskferryError('unsupported-feature', 'a VMDK extent is marked as not to be read', detail)
  }
  if (type !== ZERO_TYPE && !name) {
    throw malformed('VMDK extent line', { found: 'no file name', expected: `the file of a ${type} extent`, offset })
  }
  if (start > 0 && !FLAT_TYPES.includes(type)) {
    throw malformed('VMDK extent line', {
      found: `an offset of ${start}`,
      expected: 'one only in flat extents',
      offset,
    })
  }
}

/** Files by the names that the descriptor gives them, each opened once; or the first one that is not to be had. */
export type ExtentFiles = { readonly files: ReadonlyMap<string, Source> } | { readonly missing: string }

/** Asks for each file by its plain name. A name with a path is never asked for. */
export async function openExtentFiles(
  lines: readonly ExtentLine[],
  companions: Companions | undefined,
): Promise<ExtentFiles> {
  const files = new Map<string, Source>()
  try {
    for (const { name = '' } of lines.filter(needsFile)) {
      if (files.has(name)) continue
      const file = isPlainName(name) ? await companions?.open(name) : undefined
      if (file === undefined) {
        await closeFiles(files)
        return { missing: name }
      }
      files.set(name, file)
    }
    return { files }
  } catch (error) {
    await closeFiles(files)
    throw error
  }
}

export async function closeFiles(files: ReadonlyMap<string, Source>): Promise<void> {
  await Promise.all([...files.values()].map((file) => file.close?.()))
}

/** What a flat extent's line says must lie in the file. */
export function assertFlat({ name, start, length, offset }: ExtentLine, file: Source): void {
  const end = start + length
  if (end <= file.size) return
  throw truncated(`VMDK extent ${JSON.stringify(name)}`, { found: file.size, expected: end, offset })
}

/** The grains of an extent's file, which must hold at least what its line says. */
export async function readGrains(
  { name = '', type, length }: ExtentLine,
  file: Source,
): Promise<{ extent: SparseExtent; warnings: string[] }> {
  try {
    const { extent, warnings } = await readByKind(file, GRAIN_TYPES[type] ?? [])
    if (extent.capacity < length) {
      throw malformed('VMDK extent capacity', { found: extent.capacity, expected: `at least ${length} bytes` })
    }
    return { extent, warnings: warnings.map((warning) => `${JSON.stringify(name)}: ${warning}`) }
  } catch (error) {
    throw inFile(name, error)
  }
}

async function readByKind(
  file: Source,
  expected: readonly FileKind[],
): Promise<{ extent: SparseExtent; warnings: string[] }> {
  const kind = fileKind(asBuffer(await readClipped(file, 0, SECTOR)))
  if (kind === undefined || !expected.includes(kind)) {
    throw malformed('VMDK extent', { found: kind ?? 'no known header', expected: expected.join(' or '), offset: 0 })
  }
  if (kind === 'cowd') return { extent: await readCowd(file), warnings: [] }
  if (kind === 'sesparse') return { extent: await readSeSparse(file), warnings: [] }
  return sparseExtentOf(await readSparseFile(file))
}
