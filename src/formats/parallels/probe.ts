import type { ProbeWindow } from '../format.ts'
import { MAGIC, MAGIC_OLD } from './spec.ts'

export function probe({ head }: ProbeWindow): string | undefined {
  const magic = head.toString('latin1', 0, MAGIC.length)
  return magic === MAGIC || magic === MAGIC_OLD ? 'expandable' : undefined
}
