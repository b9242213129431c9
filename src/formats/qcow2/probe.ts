import type { ProbeWindow } from '../format.ts'
import { headerV2, MAGIC } from './spec.ts'

/** Versions 2 and 3. Version 1 has the same magic and is another format. */
export function probe({ head }: ProbeWindow): string | undefined {
  if (head.length < headerV2.offsetOf('version') + 4) return undefined
  const version = head.readUInt32BE(headerV2.offsetOf('version'))
  return head.readUInt32BE(0) === MAGIC && version !== 1 ? `v${version}` : undefined
}
