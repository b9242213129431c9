import { existsSync, statfsSync } from 'node:fs'
import { tmpdir } from 'node:os'

/** A folder in memory, where that has room for so many bytes: then no disk is measured. */
export function scratch(needed: number): string {
  const memory = '/dev/shm'
  if (!existsSync(memory)) return tmpdir()
  const { bavail, bsize } = statfsSync(memory)
  return bavail * bsize >= needed ? memory : tmpdir()
}
