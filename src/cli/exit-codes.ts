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
  /** Two images are not equal. */
  different: 6,
  /** Ctrl-C. */
  interrupted: 130,
} as const

/** What each means, for people: help, the manual page and the README. */
export const EXIT_CODES: readonly (readonly [code: number, meaning: string])[] = [
  [ExitCode.ok, 'done'],
  [ExitCode.failure, 'something that was not foreseen'],
  [ExitCode.usage, 'the command line, or an option, is wrong'],
  [ExitCode.refused, "the image can't or must not be converted"],
  [ExitCode.source, "the image is damaged, or can't be read"],
  [ExitCode.target, "the target can't be written"],
  [ExitCode.different, 'two images are not equal (verify)'],
  [ExitCode.interrupted, 'interrupted by Ctrl-C or SIGTERM; nothing half-written is left'],
]

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
  'target-exists': ExitCode.target,
  'checksum-mismatch': ExitCode.target,
  'worker-lost': ExitCode.failure,
  'plan-violated': ExitCode.failure,
}

export function exitCodeOf(error: unknown): number {
  return error instanceof DiskferryError ? BY_ERROR[error.code] : ExitCode.failure
}
