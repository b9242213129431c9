import type { ImageRecord } from '../../rules/image-record.ts'
import { checkAsked, submitExport } from '../submit-export.ts'
import { canSee } from '../visibility.ts'
import { ApiError, noSuchImage } from './api-error.ts'
import { type App, type AppOptions, type RequestContext, serveRoute } from './app.ts'
import { assertPermitted } from './permission.ts'
import { readText } from './read-text.ts'
import * as routes from './routes.ts'
import { viewDryRun, viewImage } from './views.ts'

/** What an image's id may look like: anything else is no image's, and reaches no catalogue. */
const IMAGE_ID = /^[A-Za-z0-9_-]{1,64}$/
const KEY = /^[\x21-\x7e]{1,255}$/

export function serveImages(app: App, options: AppOptions): void {
  serveRoute(app, routes.exportImage, async (context) => {
    assertPermitted(context, options)
    const asked = {
      caller: context.get('caller'),
      imageId: imageIdOf(context),
      idempotencyKey: keyOf(context),
      text: await readText(context.req.raw, options.limits),
    }
    if (context.req.query('dry_run') === 'true') {
      return context.json(viewDryRun((await checkAsked(asked, options)).violations))
    }
    const job = await submitExport(asked, options)
    options.log.info({ job: job.id, project: job.project, image: job.image.id, format: job.format }, 'export accepted')
    return context.json({ job_id: job.id })
  })

  serveRoute(app, routes.listImages, async (context) => {
    const images: ImageRecord[] = []
    for await (const image of options.catalog.list()) if (canSee(context.get('caller'), image)) images.push(image)
    return context.json({ images: images.map(viewImage) })
  })
}

function imageIdOf(context: RequestContext): string {
  const id = context.req.param('image_id') ?? ''
  if (!IMAGE_ID.test(id)) throw noSuchImage()
  return id
}

function keyOf(context: RequestContext): string | undefined {
  const key = context.req.header('Idempotency-Key')
  if (key === undefined || KEY.test(key)) return key
  throw new ApiError(400, 'IMG.0001', 'an Idempotency-Key has 1 to 255 characters of ASCII, and no spaces')
}
