import type { ProbeWindow } from '../format.ts'
import { FOOTER_COOKIE, FOOTER_SIZE, OLD_FOOTER_SIZE } from './spec.ts'

/** A dynamic disk has its footer's copy in front, a fixed disk only the footer at the end. */
export function probe({ head, tail }: ProbeWindow): string | undefined {
  if (isCookie(head, 0)) return 'dynamic'
  if (isCookie(tail, tail.length - FOOTER_SIZE) || isCookie(tail, tail.length - OLD_FOOTER_SIZE)) return 'fixed'
  return undefined
}

function isCookie(window: Buffer, at: number): boolean {
  return at >= 0 && window.toString('latin1', at, at + FOOTER_COOKIE.length) === FOOTER_COOKIE
}
