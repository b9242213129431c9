import { randomBytes } from 'node:crypto'
import { withOpened } from '../pipeline/opened-image.ts'
import { formatOf, placeOf, readBody } from '../rules/body-rules.ts'
import { checkExport } from '../rules/check-export.ts'
import type { ExportRequest, ExportViolation } from '../rules/export-rule.ts'
import type { ImageRecord } from '../rules/image-record.ts'
import { checkOpened, type Opened } from '../rules/opened-rules.ts'
import type { Policy } from '../rules/policy.ts'
import { ApiError, noSuchImage, unavailable } from './http/api-error.ts'
import { sayViolations } from './http/views.ts'
import { asksTheSame, type ExportFormat, type ExportJob, type JobRecord } from './jobs/job.ts'
import { type JobQueue, ServiceCode, type Submission } from './jobs/queue.ts'
import type { Caller, CatalogSource, ImageCatalog, TargetResolver } from './seams.ts'
import { canSee } from './visibility.ts'

export interface ExportDependencies {
  readonly catalog: ImageCatalog
  readonly targets: TargetResolver
  readonly queue: JobQueue
  readonly policy: Policy
}

/** A request to export, as it came. */
export interface Asked {
  readonly caller: Caller
  readonly imageId: string
  /** The body's text. */
  readonly text: string
  readonly idempotencyKey: string | undefined
}

interface Checked {
  readonly violations: readonly ExportViolation[]
  readonly image: ImageRecord
  readonly body: unknown
}

/** Everything that keeps an image from being exported like this, in the order in which a caller is told. */
export async function checkAsked(asked: Asked, dependencies: ExportDependencies): Promise<Checked> {
  const { caller, imageId } = asked
  const body = readBody(asked.text)
  const image = await dependencies.catalog.find(imageId)
  if (image === undefined || !canSee(caller, image)) throw noSuchImage()
  const bare: ExportRequest = { body, caller }
  const first = checkExport(image, bare, dependencies.policy).violations
  const request = { ...bare, ...(await factsOf(asked, body, first, dependencies)) }
  const { violations } = checkExport(image, request, dependencies.policy)
  if (first.some(({ rule }) => rule !== 'format')) return { violations, image, body }
  const opened = await open(await dependencies.catalog.source(imageId))
  const ofFile = checkOpened(opened, { image, request, policy: dependencies.policy })
  return { violations: [...violations, ...ofFile], image, body }
}

const PLACE_RULES = ['bucket-url', 'bucket-named', 'bucket-name', 'file-named', 'file-name-length', 'file-name']

/** What store and queue know. A bucket that is misnamed is not asked for. */
async function factsOf(
  { caller, imageId }: Asked,
  body: unknown,
  first: readonly ExportViolation[],
  { targets, queue }: ExportDependencies,
): Promise<Pick<ExportRequest, 'bucket' | 'jobs'>> {
  const place = placeOf(body)
  const claims = { image: imageId, target: place === undefined ? '' : `${place.bucket}:${place.key}` }
  const claimed = await queue.claimed(claims)
  const jobs = { imageClaimed: claimed.image, tooMany: false }
  if (place === undefined || first.some(({ rule }) => PLACE_RULES.includes(rule))) return { jobs }
  const bucket = await targets.resolve(place.bucket, caller.project)
  const facts = await bucket.facts()
  const there = facts.accessible && (await bucket.head(place.key)) !== undefined
  return { jobs, bucket: { ...facts, objectExists: claimed.target || there } }
}

/** Opens the file and closes it again: its headers are what the rules look at. */
async function open(source: CatalogSource): Promise<Opened> {
  try {
    return { disk: await withOpened(source, async (disk) => disk) }
  } catch (error) {
    return { error }
  }
}

/** Checks a request and hands its job to the queue; the same request with the same key gives the same job again. */
export async function submitExport(asked: Asked, dependencies: ExportDependencies): Promise<JobRecord> {
  const known = await knownJob(asked, dependencies)
  if (known !== undefined) return known
  const { violations, image, body } = await checkAsked(asked, dependencies)
  const [first] = violations
  if (first !== undefined) {
    throw new ApiError(first.status as 400, first.code, sayViolations(violations), retryOf(first.code))
  }
  return accepted(await dependencies.queue.submit(jobOf(asked, image, body)))
}

async function knownJob(asked: Asked, { queue, catalog }: ExportDependencies): Promise<JobRecord | undefined> {
  const { caller, idempotencyKey, imageId } = asked
  const known = idempotencyKey === undefined ? undefined : await queue.findByKey(caller.project, idempotencyKey)
  if (known === undefined) return undefined
  const body = readBody(asked.text)
  const image = (await catalog.find(imageId)) ?? { id: imageId, name: '' }
  if (formatOf(body) !== undefined && placeOf(body) !== undefined && asksTheSame(known, jobOf(asked, image, body)))
    return known
  throw keyReused()
}

function jobOf({ caller, idempotencyKey }: Asked, { id, name }: ImageRecord, body: unknown): ExportJob {
  const { bucket, key } = placeOf(body) as { bucket: string; key: string }
  return {
    id: randomBytes(16).toString('hex'),
    project: caller.project,
    image: { id, name },
    bucket,
    key,
    format: formatOf(body) as ExportFormat,
    createdAt: new Date().toISOString(),
    ...(idempotencyKey !== undefined && { idempotencyKey }),
  }
}

/** What the queue found when others were quicker than the rules. */
function accepted(submission: Submission): JobRecord {
  switch (submission.kind) {
    case 'accepted':
    case 'known':
      return submission.job
    case 'key-reused':
      throw keyReused()
    case 'image-claimed':
      throw new ApiError(400, 'IMG.0148', 'another export of this image has not ended')
    case 'target-claimed':
      throw new ApiError(400, 'IMG.0070', 'the object is being written by another export')
    case 'too-many':
      throw new ApiError(400, 'IMG.0060', 'there are too many exports: try again later', retryOf('IMG.0060'))
    case 'closed':
      throw unavailable('the service')
  }
}

function retryOf(code: string): { retryAfterSeconds?: number } {
  return code === 'IMG.0060' ? { retryAfterSeconds: 10 } : {}
}

function keyReused(): ApiError {
  return new ApiError(400, ServiceCode.keyReused, 'the Idempotency-Key stands for another request: take a new one')
}
