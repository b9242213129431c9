import type { ProbeWindow } from '../format.ts'
import { ZVHD_COOKIE, ZVHD2_COOKIE } from './spec.ts'

/** What the vendor's readers compare. */
const COMPARED = 6

export function probeZvhd({ head }: ProbeWindow): string | undefined {
  return startsWith(head, ZVHD_COOKIE) ? 'zvhd' : undefined
}

export function probeZvhd2({ head }: ProbeWindow): string | undefined {
  return startsWith(head, ZVHD2_COOKIE) ? 'zvhd2' : undefined
}

function startsWith(head: Buffer, cookie: string): boolean {
  return head.toString('latin1', 0, COMPARED) === cookie.slice(0, COMPARED)
}
