import { DiskferryError } from '../bytes/errors.ts'
import { joinSources } from '../io/join-sources.ts'
import { EXTENT_WIDTH, Extent, ExtentCollector, type ExtentRows, Kind } from './extents.ts'
import type { DiskImage } from './format.ts'

/** Ours: longer chains are made by mistake, or are loops. */
export const MAX_CHAIN = 32

/**
 * An image and its parent as one: where the image stores nothing, the parent's bytes show through, as far as it reaches.
 * Owns the parent: closing the result closes both.
 */
export function overlay(image: DiskImage, parent: DiskImage): DiskImage {
  assertParent(image, parent)
  const source = joinSources([image.source, parent.source], image.source.name)
  const { backingFile = '', ...facts } = image.facts
  const base = source.bases[1] as number
  const shift = { host: base, codec: image.codecs?.length ?? 0 }
  return {
    ...image,
    source,
    codecs: [...(image.codecs ?? []), ...(parent.codecs ?? [])],
    facts: {
      ...facts,
      features: [...facts.features, 'backing file', ...parent.facts.features.filter((name) => name === 'backing file')],
      warnings: [...facts.warnings, ...parent.facts.warnings.map((warning) => `${backingFile}: ${warning}`)],
      details: { ...facts.details, backingFile, backingFormat: parent.format },
    },
    extents: (start = 0, end = image.virtualSize) => overlayExtents(image, parent, shift, start, end),
    async close() {
      await image.close?.()
      await parent.close?.()
    },
  }
}

/** A differencing VHD names its parent's id: another disk in its place would give a mixture of both. */
function assertParent({ facts }: DiskImage, parent: DiskImage): void {
  const expected = facts.parentId
  const found = parent.facts.details.uniqueId
  if (expected === undefined || expected === found) return
  throw new DiskferryError(
    'malformed',
    `${JSON.stringify(facts.backingFile)} is not the disk that this image was made from`,
    {
      found: String(found ?? parent.format),
      expected,
      hint: 'hand over the right parent',
    },
  )
}

interface Shift {
  /** Where the parent begins in the joined source. */
  readonly host: number
  /** Codecs before the parent's. */
  readonly codec: number
}

async function* overlayExtents(
  image: DiskImage,
  parent: DiskImage,
  shift: Shift,
  start: number,
  end: number,
): AsyncGenerator<ExtentRows> {
  const extents = new ExtentCollector(start, end)
  for await (const rows of image.extents(start, end)) {
    for (let row = 0; row < rows.length; row += EXTENT_WIDTH) {
      const guest = rows[row + Extent.guest] as number
      const length = rows[row + Extent.length] as number
      if (rows[row + Extent.kind] === Kind.parent) yield* parentExtents(extents, parent, shift, guest, guest + length)
      else addRow(extents, rows, row, NO_SHIFT)
    }
    yield extents.take()
  }
}

const NO_SHIFT: Shift = { host: 0, codec: 0 }

async function* parentExtents(
  extents: ExtentCollector,
  parent: DiskImage,
  shift: Shift,
  start: number,
  end: number,
): AsyncGenerator<ExtentRows> {
  const reach = Math.min(end, parent.virtualSize)
  if (start < reach) {
    for await (const rows of parent.extents(start, reach)) {
      for (let row = 0; row < rows.length; row += EXTENT_WIDTH) addRow(extents, rows, row, shift)
      yield extents.take()
    }
  }
  const past = Math.max(start, reach)
  extents.add(past, end - past, Kind.hole)
}

function addRow(extents: ExtentCollector, rows: ExtentRows, row: number, shift: Shift): void {
  const [guest = 0, length = 0, kind = 0, host = 0, packed = 0, codec = 0, skip = 0] = rows.subarray(
    row,
    row + EXTENT_WIDTH,
  )
  extents.add(guest, length, kind as Kind, host + shift.host, packed, codec + shift.codec, skip)
}
