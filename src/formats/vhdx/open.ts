import { SECTOR } from '../../bytes/units.ts'
import type { Source } from '../../io/source.ts'
import type { DiskImage, ImageFacts } from '../format.ts'
import { BlockTable } from './bat.ts'
import { readHeader, readLog } from './header.ts'
import { type Metadata, readMetadata } from './metadata.ts'
import { readRegions } from './regions.ts'
import type { Header } from './spec.ts'

/** Opens a fixed, dynamic or differencing VHDX. What the last one does not store is in its parent. */
export async function open(source: Source): Promise<DiskImage> {
  const header = await readHeader(source)
  const logWarnings = await readLog(source, header.value)
  const regions = await readRegions(source)
  const metadata = await readMetadata(source, regions.value.metadata)
  const table = new BlockTable(source, regions.value.bat, metadata)
  return {
    format: 'vhdx',
    source,
    virtualSize: metadata.virtualSize,
    facts: factsOf(header.value, metadata, [...header.warnings, ...logWarnings, ...regions.warnings]),
    extents: (start = 0, end = metadata.virtualSize) => table.extents(start, end),
  }
}

function factsOf({ dataWriteGuid }: Header, metadata: Metadata, warnings: readonly string[]): ImageFacts {
  const { blockSize, isFixed, logicalSectorSize, physicalSectorSize, diskId, parent } = metadata
  const variant = isFixed ? 'fixed' : 'dynamic'
  const wideSectors = `the disk has sectors of ${logicalSectorSize} bytes: its partition table counts in those`
  return {
    variant: parent === undefined ? variant : 'differencing',
    features: [],
    warnings: logicalSectorSize === SECTOR ? warnings : [...warnings, wideSectors],
    ...(parent !== undefined && { backingFile: parent.name }),
    ...(parent?.id !== undefined && { parentId: parent.id }),
    details: {
      blockSize,
      uniqueId: dataWriteGuid,
      logicalSectorSize,
      ...(physicalSectorSize !== undefined && { physicalSectorSize }),
      ...(diskId !== undefined && { diskId }),
    },
  }
}
