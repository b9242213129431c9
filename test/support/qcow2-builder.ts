/**
 * Builds qcow2 files that no tool makes, from the specification and from nothing else: it shares no code with what it
 * tests. All integers are big-endian.
 */
export interface Qcow2Description {
  readonly size?: bigint
  readonly clusterBits?: number
  /** The L1 table's entries, and how many the header states. It lies in cluster 1. */
  readonly l1?: readonly bigint[]
  readonly l1Size?: number
  readonly headerLength?: number
  readonly refcountOrder?: number
  readonly incompatible?: bigint
  readonly backing?: { readonly offset: number; readonly name: string }
  readonly snapshots?: { readonly offset: bigint; readonly count: number }
  /** Type and data of each header extension. */
  readonly extensions?: readonly (readonly [type: number, data: Buffer])[]
  /** Further bytes by their offset in the file. */
  readonly pieces?: readonly (readonly [offset: number, bytes: Buffer])[]
  /** Bytes in all: by default up to the last piece. */
  readonly length?: number
}

export function buildQcow2(image: Qcow2Description): Buffer {
  const { clusterBits = 12, l1 = [0n], pieces = [], headerLength = 104 } = image
  const cluster = 2 ** clusterBits
  const parts = [[0, headerOf(image)], [headerLength, extensionsOf(image)], [cluster, u64s(l1)], ...pieces] as const
  const end = parts.reduce((most, [offset, bytes]) => Math.max(most, offset + bytes.length), 2 * cluster)
  const file = Buffer.alloc(image.length ?? end)
  for (const [offset, bytes] of parts) bytes.copy(file, offset)
  if (image.backing) file.write(image.backing.name, image.backing.offset, 'utf8')
  return file
}

export function u64s(values: readonly bigint[]): Buffer {
  const bytes = Buffer.alloc(values.length * 8)
  for (const [index, value] of values.entries()) bytes.writeBigUInt64BE(value, index * 8)
  return bytes
}

function headerOf(image: Qcow2Description): Buffer {
  const { clusterBits = 12, size = 4096n, l1 = [0n], backing, snapshots } = image
  const bytes = Buffer.alloc(104)
  bytes.write('QFI\xfb', 0, 'latin1')
  bytes.writeUInt32BE(3, 4)
  bytes.writeBigUInt64BE(BigInt(backing?.offset ?? 0), 8)
  bytes.writeUInt32BE(backing?.name.length ?? 0, 16)
  bytes.writeUInt32BE(clusterBits, 20)
  bytes.writeBigUInt64BE(size, 24)
  bytes.writeUInt32BE(image.l1Size ?? l1.length, 36)
  bytes.writeBigUInt64BE(BigInt(2 ** clusterBits), 40)
  bytes.writeUInt32BE(snapshots?.count ?? 0, 60)
  bytes.writeBigUInt64BE(snapshots?.offset ?? 0n, 64)
  bytes.writeBigUInt64BE(image.incompatible ?? 0n, 72)
  bytes.writeUInt32BE(image.refcountOrder ?? 4, 96)
  bytes.writeUInt32BE(image.headerLength ?? 104, 100)
  return bytes
}

function extensionsOf({ extensions = [] }: Qcow2Description): Buffer {
  const parts = extensions.map(([type, data]) => {
    const bytes = Buffer.alloc(8 + Math.ceil(data.length / 8) * 8)
    bytes.writeUInt32BE(type, 0)
    bytes.writeUInt32BE(data.length, 4)
    data.copy(bytes, 8)
    return bytes
  })
  return Buffer.concat(parts)
}
