import { MiB, SECTOR } from '../../bytes/units.ts'
import type { OptionTable, OptionValues } from '../options.ts'

export const options = {
  subformat: {
    type: 'choice',
    values: ['streamOptimized', 'monolithicSparse'],
    default: 'streamOptimized',
    help: 'streamOptimized is compressed, for ESXi and OVA; monolithicSparse is for VMware Workstation',
  },
  level: {
    type: 'number',
    min: 1,
    max: 9,
    default: 1,
    help: 'how hard to compress: 1 is fastest, 9 smallest',
  },
  compressor: {
    type: 'choice',
    values: ['zlib', 'libdeflate'],
    default: 'zlib',
    help: 'libdeflate is faster at the same level; it needs the package libdeflate beside diskferry',
  },
  adapter_type: {
    type: 'choice',
    values: ['lsilogic', 'buslogic', 'ide', 'legacyESX'],
    default: 'lsilogic',
    help: 'the controller that the disk expects',
  },
  hwversion: { type: 'number', min: 3, max: 99, default: 10, help: 'virtual hardware version' },
  cid: {
    type: 'text',
    pattern: /^[0-9a-f]{8}$/i,
    form: 'eight hexadecimal digits',
    help: 'content id; by default derived from the source',
  },
} as const satisfies OptionTable
export type VmdkOptions = OptionValues<typeof options>

export const DESCRIPTOR_SECTORS = 20

/** In one file the extent is the file itself, whatever it will be called: readers ignore the name. */
const EXTENT_NAME = 'disk.vmdk'
/** What VMware's own tools write where no guest tools are known. */
const TOOLS_VERSION = '2147483647'
const TOOLS_INSTALL_TYPE = '4'

/** The embedded descriptor, with room behind it for what VMware's tools add. */
export function encodeDescriptor(virtualSize: number, seed: Uint8Array, options: VmdkOptions): Buffer {
  const { subformat, adapter_type, hwversion } = options
  const sectors = virtualSize / SECTOR
  const contentId = longContentId(seed, options.cid)
  const { cylinders, heads, sectorsPerTrack } = geometryOf(virtualSize, adapter_type)
  const lines = [
    '# Disk DescriptorFile',
    'version=1',
    'encoding="UTF-8"',
    `CID=${contentId.slice(-8)}`,
    'parentCID=ffffffff',
    `createType="${subformat}"`,
    '',
    '# Extent description',
    `RW ${sectors} SPARSE "${EXTENT_NAME}"`,
    '',
    '# The Disk Data Base',
    '#DDB',
    '',
    `ddb.adapterType = "${adapter_type}"`,
    `ddb.geometry.cylinders = "${cylinders}"`,
    `ddb.geometry.heads = "${heads}"`,
    `ddb.geometry.sectors = "${sectorsPerTrack}"`,
    `ddb.longContentID = "${contentId}"`,
    `ddb.toolsInstallType = "${TOOLS_INSTALL_TYPE}"`,
    `ddb.toolsVersion = "${TOOLS_VERSION}"`,
    `ddb.virtualHWVersion = "${hwversion}"`,
    '',
  ]
  const bytes = Buffer.alloc(DESCRIPTOR_SECTORS * SECTOR)
  bytes.write(lines.join('\n'), 'utf8')
  return bytes
}

/** 128 bits in hexadecimal, the last 32 of which are the CID. All ones would say that there is no parent. */
function longContentId(seed: Uint8Array, cid: string | undefined): string {
  const derived = Buffer.from(seed.subarray(0, 16)).toString('hex')
  const last = (cid ?? derived.slice(24)).toLowerCase()
  return derived.slice(0, 24) + (last === 'ffffffff' ? 'fffffffe' : last)
}

/** VMware's rule: SCSI disks of more than 1 GiB have 255 heads and 63 sectors; IDE disks 16 heads, up to 16383 cylinders. */
function geometryOf(virtualSize: number, adapterType: string) {
  const { heads, sectorsPerTrack } = tracksOf(virtualSize, adapterType)
  const cylinders = Math.floor(virtualSize / SECTOR / heads / sectorsPerTrack)
  const most = adapterType === 'ide' ? 16383 : 65535
  return { cylinders: Math.min(most, cylinders), heads, sectorsPerTrack }
}

function tracksOf(virtualSize: number, adapterType: string) {
  if (adapterType === 'ide') return { heads: 16, sectorsPerTrack: 63 }
  return virtualSize < 1024 * MiB ? { heads: 64, sectorsPerTrack: 32 } : { heads: 255, sectorsPerTrack: 63 }
}
