import { constants } from 'node:os'

/**
 * The name of what the operating system said: ENOSPC. Node has no names for some of its errors, EDQUOT among them, and
 * gives their number.
 */
export function systemErrorName(cause: unknown): string {
  const { code, errno } = (cause ?? {}) as NodeJS.ErrnoException
  if (code !== undefined && /^E[A-Z0-9]+$/.test(code)) return code
  return (errno !== undefined && nameOf(-errno)) || code || String(cause)
}

function nameOf(number: number): string | undefined {
  return Object.entries(constants.errno).find(([, value]) => value === number)?.[0]
}
