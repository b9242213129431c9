import { DiskferryError, type ErrorCode } from '../bytes/errors.ts'

/** What the process ends with. Stable: scripts rest on it. */
export const ExitCode = {
  ok: 0,
  /** Something that was not foreseen. */
  failure: 1,
  /** The command line, or an option. */
  usage: 2,
  /** The image is whole, and can't or must not be converted. */
  refused: 3,
  /** The image is damaged, or can't be read. */
  source: 4,
  /** The target can't be written. */
  target: 5,
  /** Ctrl-C. */
  interrupted: 130,
} as const

const BY_ERROR: Readonly<Record<ErrorCode, number>> = {
  usage: ExitCode.usage,
  'source-unreadable': ExitCode.source,
  'short-read': ExitCode.source,
  'source-changed': ExitCode.source,
  'ambiguous-format': ExitCode.refused,
  'unsupported-format': ExitCode.refused,
  'unsupported-feature': ExitCode.refused,
  'unsafe-image': ExitCode.refused,
  malformed: ExitCode.source,
  truncated: ExitCode.source,
  'too-large': ExitCode.source,
  'corrupt-data': ExitCode.source,
  'target-unfit': ExitCode.refused,
  'target-failed': ExitCode.target,
  'checksum-mismatch': ExitCode.target,
  'worker-lost': ExitCode.failure,
  'plan-violated': ExitCode.failure,
}

export function exitCodeOf(error: unknown): number {
  return error instanceof DiskferryError ? BY_ERROR[error.code] : ExitCode.failure
}
