import { fromPlainError, isDiskferryError, toPlainError } from '../../bytes/errors.ts'

/** The same error, saying in which of a disk's files: offsets count from that file's begin. */
export function inFile(name: string, error: unknown): unknown {
  if (!isDiskferryError(error)) return error
  return fromPlainError({ ...toPlainError(error), message: `${JSON.stringify(name)}: ${error.message}` })
}
