import type { ProbeWindow } from '../format.ts'
import { FILE_SIGNATURE } from './spec.ts'

export function probe({ head }: ProbeWindow): string | undefined {
  return head.toString('latin1', 0, FILE_SIGNATURE.length) === FILE_SIGNATURE ? 'vhdx' : undefined
}
