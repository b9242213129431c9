import type { ImageRecord } from './image-record.ts'
import type { Policy } from './policy.ts'

/** What an export is asked for, and what is known of the world round it. What is not given is not checked, and said to be so. */
export interface ExportRequest {
  /** The body: `bucket_url`, `file_format`, `is_quick_export`. A string stands for a body that is no JSON. */
  readonly body: unknown
  readonly caller?: { readonly project: string; readonly roles: readonly string[] } | undefined
  readonly bucket?:
    | {
        readonly accessible: boolean
        readonly region: string | undefined
        readonly storageClass: string
        /** Whether there is an object of this name, or one in the making. */
        readonly objectExists: boolean
      }
    | undefined
  readonly jobs?: { readonly imageClaimed: boolean; readonly tooMany: boolean } | undefined
}

/** What rules look at. */
export interface Subject {
  readonly image: ImageRecord | undefined
  readonly request: ExportRequest
  readonly policy: Policy
}

/** One constraint, as data. */
export interface ExportRule {
  readonly name: string
  readonly description: string
  readonly code: string
  /** The HTTP status of a request that breaks it. */
  readonly status: 400 | 403 | 404
  /** The part of the subject that it looks at. */
  readonly about: 'caller' | 'body' | 'image' | 'bucket' | 'jobs'
  /** What was found, when the rule is broken. Whatever it throws counts as broken. */
  check(subject: Subject): string | undefined
  /** What a person can change. */
  explain(subject: Subject): string
}

export interface ExportViolation {
  readonly rule: string
  readonly description: string
  readonly code: string
  readonly status: number
  readonly found: string
  readonly explain: string
}

export interface ExportCheck {
  /** Nothing that was checked is broken. */
  readonly ok: boolean
  /** All that is broken; the first is what a caller is told first. */
  readonly violations: readonly ExportViolation[]
  /** Rules whose part of the request was not given. */
  readonly unchecked: readonly string[]
}

/** A rule whose text depends on nothing. */
export function rule(
  about: ExportRule['about'],
  code: string,
  name: string,
  description: string,
  explain: string | ((subject: Subject) => string),
  check: (subject: Subject) => string | undefined,
): ExportRule {
  const text = typeof explain === 'string' ? () => explain : explain
  return { name, description, code, status: 400, about, check, explain: text }
}

/** Runs one rule. Fails closed: a rule that can't tell is broken. */
export function violationOf(broken: ExportRule, subject: Subject): ExportViolation | undefined {
  const { name, description, status } = broken
  const code = subject.policy.codes[name] ?? broken.code
  const found = guarded(() => broken.check(subject), 'it could not be checked')
  if (found === undefined) return undefined
  const explain = guarded(() => broken.explain(subject), 'ask whoever runs this service') ?? ''
  return { rule: name, description, code, status, found, explain }
}

function guarded(action: () => string | undefined, otherwise: string): string | undefined {
  try {
    return action()
  } catch {
    return otherwise
  }
}
