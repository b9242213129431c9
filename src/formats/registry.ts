import { DiskferryError, tooLarge } from '../bytes/errors.ts'
import type { Companions } from '../io/companions.ts'
import { readClipped, type Source } from '../io/source.ts'
import { MAX_CHAIN, overlay } from './backing-chain.ts'
import type { DiskImage, ImageFormat, ImageWriter } from './format.ts'
import { PROBE_HEAD, PROBE_TAIL, type ProbeWindow } from './format.ts'
import type { OptionValues } from './options.ts'
import { parallels } from './parallels/index.ts'
import { qcow2 } from './qcow2/index.ts'
import { raw } from './raw/index.ts'
import { recognised } from './recognised.ts'
import { vdi } from './vdi/index.ts'
import { vhd } from './vhd/index.ts'
import { vhdx } from './vhdx/index.ts'
import { vmdk } from './vmdk/index.ts'
import { zvhd, zvhd2 } from './zvhd/index.ts'

/** Every format that is known, readable or not. */
export const formats: readonly ImageFormat[] = [raw, qcow2, vhd, vmdk, zvhd, zvhd2, vhdx, vdi, parallels, ...recognised]

export interface OpenOptions {
  /** The format, when the caller knows it. It is believed: nothing is probed. */
  from?: string | undefined
  /** Files that are parts of the image itself, such as a VMDK's extents. Without it, none of them is opened. */
  companions?: Companions | undefined
  /** Other images that this one builds on: backing file, parent, data file. Without it, none of them is opened. */
  backing?: Companions | undefined
  /** Id or name of an internal snapshot (qcow2) to read instead of the active disk. */
  snapshot?: string | undefined
}

/**
 * Opens an image. Without `from` its format is probed from its first and last bytes; a file that no format claims is
 * a raw disk.
 * @throws DiskferryError `ambiguous-format` when two formats claim it, `unsupported-format` when its format can't be
 *   read, `malformed` or `truncated` when its headers lie
 */
export async function openImage(source: Source, options: OpenOptions = {}): Promise<DiskImage> {
  return openChain(source, options, 1)
}

async function openChain(
  source: Source,
  { from, companions, backing, snapshot }: OpenOptions,
  depth: number,
): Promise<DiskImage> {
  const format = from === undefined ? await probe(source) : formatNamed(from)
  if (format.reader === undefined) throw unreadable(source, format)
  if (snapshot !== undefined && format.name !== qcow2.name) {
    throw new DiskferryError('usage', `${format.name} has no internal snapshots`, { found: snapshot })
  }
  const image = await format.reader.open(source, { companions, backing, snapshot })
  const { backingFile } = image.facts
  if (backingFile === undefined || backing === undefined) return image
  try {
    return await openParent(image, backingFile, backing, depth)
  } catch (error) {
    await image.close?.()
    throw error
  }
}

/** Opens the parent that an image names, if the caller hands it over. */
async function openParent(
  image: DiskImage,
  backingFile: string,
  backing: Companions,
  depth: number,
): Promise<DiskImage> {
  if (depth >= MAX_CHAIN) {
    throw tooLarge('backing chain', { found: `more than ${MAX_CHAIN} images`, expected: `at most ${MAX_CHAIN}` })
  }
  const source = await backing.open(backingFile)
  if (source === undefined) return image
  try {
    const parent = await openChain(source, { from: image.facts.backingFormat, companions: backing, backing }, depth + 1)
    return overlay(image, { ...parent, close: () => closeAll(parent, source) })
  } catch (error) {
    await source.close?.()
    throw error
  }
}

async function closeAll(image: DiskImage, source: Source): Promise<void> {
  await image.close?.()
  await source.close?.()
}

function unreadable(source: Source, format: ImageFormat): DiskferryError {
  return new DiskferryError(
    'unsupported-format',
    `${source.name ?? 'the source'} is ${format.title}, which can't be read`,
    {
      found: format.name,
      expected: names(readable()),
      ...(format.refusal !== undefined && { hint: format.refusal }),
    },
  )
}

/** Finds the one format that claims the source. Reads the two windows, and nothing else. */
export async function probe(source: Source): Promise<ImageFormat> {
  return probeWindow(await readWindow(source), source.name)
}

/** @throws DiskferryError `ambiguous-format` */
export function probeWindow(window: ProbeWindow, name?: string): ImageFormat {
  const claims = formats.filter((format) => format.probe(window) !== undefined)
  if (claims.length > 1) throw ambiguous(name, claims)
  return claims[0] ?? raw
}

async function readWindow(source: Source): Promise<ProbeWindow> {
  const head = Buffer.from(await readClipped(source, 0, PROBE_HEAD))
  const tailOffset = Math.max(0, source.size - PROBE_TAIL)
  const tail = Buffer.from(await readClipped(source, tailOffset, PROBE_TAIL))
  return { head, tail, size: source.size }
}

function ambiguous(name: string | undefined, claims: readonly ImageFormat[]): DiskferryError {
  const found = names(claims)
  return new DiskferryError('ambiguous-format', `${name ?? 'the source'} looks like more than one format: ${found}`, {
    found,
    expected: 'one format',
    hint: 'say which it is (--from, option from): a guest may have written the other one into its disk',
  })
}

/** @throws DiskferryError `usage` for a name that is not known */
export function formatNamed(name: string): ImageFormat {
  const format = formats.find((candidate) => candidate.name === name)
  if (format !== undefined) return format
  throw new DiskferryError('usage', `there is no format ${JSON.stringify(name)}`, {
    found: name,
    expected: names(formats),
  })
}

/** @throws DiskferryError `unsupported-format` for one that can't be written */
export function writerNamed(name: string): ImageWriter {
  const { writer } = formatNamed(name)
  if (writer !== undefined) return writer
  throw new DiskferryError('unsupported-format', `${name} can't be written`, {
    found: name,
    expected: names(writable()),
  })
}

/** Options of each writer, by the format's name, as a caller gives them. */
export interface WriterOptions {
  raw: Partial<OptionValues<typeof raw.writer.options>>
  qcow2: Partial<OptionValues<typeof qcow2.writer.options>>
  vhd: Partial<OptionValues<typeof vhd.writer.options>>
  vmdk: Partial<OptionValues<typeof vmdk.writer.options>>
  zvhd: Partial<OptionValues<typeof zvhd.writer.options>>
  zvhd2: Partial<OptionValues<typeof zvhd2.writer.options>>
}

const readable = () => formats.filter(({ reader }) => reader !== undefined)
const writable = () => formats.filter(({ writer }) => writer !== undefined)
const names = (list: readonly ImageFormat[]) => list.map(({ name }) => name).join(', ')
