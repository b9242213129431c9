import type { ProbeWindow } from '../format.ts'
import { COWD_MAGIC, SESPARSE_MAGIC, SPARSE_MAGIC } from './spec.ts'

/** What a file of a VMDK is: the descriptor, or one kind of extent that holds grains. */
export type FileKind = 'descriptor' | 'sparse' | 'cowd' | 'sesparse'

export function probe({ head }: ProbeWindow): string | undefined {
  return fileKind(head)
}

/** Goes by the first bytes. Flat extents have no mark of their own: they are raw. */
export function fileKind(head: Buffer): FileKind | undefined {
  if (head.length < 8) return undefined
  if (head.readUInt32LE(0) === SPARSE_MAGIC) return 'sparse'
  if (head.readUInt32LE(0) === COWD_MAGIC) return 'cowd'
  if (head.readBigUInt64LE(0) === SESPARSE_MAGIC) return 'sesparse'
  return /^\s*#\s*Disk DescriptorFile/i.test(head.toString('latin1', 0, 512)) ? 'descriptor' : undefined
}
