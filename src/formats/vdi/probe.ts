import type { ProbeWindow } from '../format.ts'
import { SIGNATURE, SIGNATURE_OFFSET } from './spec.ts'

export function probe({ head }: ProbeWindow): string | undefined {
  if (head.length < SIGNATURE_OFFSET + 8) return undefined
  return head.readUInt32LE(SIGNATURE_OFFSET) === SIGNATURE ? 'vdi' : undefined
}
