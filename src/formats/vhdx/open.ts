import { DiskferryError } from '../../bytes/errors.ts'
import { SECTOR } from '../../bytes/units.ts'
import type { Source } from '../../io/source.ts'
import type { DiskImage, ImageFacts } from '../format.ts'
import { BlockTable } from './bat.ts'
import { readHeader, readLog } from './header.ts'
import { type Metadata, readMetadata } from './metadata.ts'
import { readRegions } from './regions.ts'

/** Opens a fixed or dynamic VHDX. Differencing disks open, to be inspected; their extents refuse. */
export async function open(source: Source): Promise<DiskImage> {
  const header = await readHeader(source)
  const logWarnings = await readLog(source, header.value)
  const regions = await readRegions(source)
  const metadata = await readMetadata(source, regions.value.metadata)
  const { virtualSize, parent } = metadata
  const table = new BlockTable(source, regions.value.bat, metadata)
  return {
    format: 'vhdx',
    source,
    virtualSize,
    facts: factsOf(metadata, [...header.warnings, ...logWarnings, ...regions.warnings]),
    extents(start = 0, end = virtualSize) {
      if (parent !== undefined) throw differencing(parent)
      return table.extents(start, end)
    },
  }
}

function factsOf(metadata: Metadata, warnings: readonly string[]): ImageFacts {
  const { blockSize, isFixed, logicalSectorSize, physicalSectorSize, diskId, parent } = metadata
  const variant = isFixed ? 'fixed' : 'dynamic'
  const wideSectors = `the disk has sectors of ${logicalSectorSize} bytes: its partition table counts in those`
  return {
    variant: parent === undefined ? variant : 'differencing',
    features: [],
    warnings: logicalSectorSize === SECTOR ? warnings : [...warnings, wideSectors],
    ...(parent !== undefined && { backingFile: parent }),
    details: {
      blockSize,
      logicalSectorSize,
      ...(physicalSectorSize !== undefined && { physicalSectorSize }),
      ...(diskId !== undefined && { diskId }),
    },
  }
}

function differencing(parent: string): DiskferryError {
  return new DiskferryError('unsupported-feature', `a differencing VHDX needs its parent ${JSON.stringify(parent)}`, {
    found: parent,
    hint: 'merge the disk with its parent first',
  })
}
