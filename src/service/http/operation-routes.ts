import { type App, type AppOptions, serveRoute } from './app.ts'
import * as routes from './routes.ts'

/** For those who run the service; nothing here belongs to a project. */
export function serveOperation(
  app: App,
  { queue, metrics, ending }: Pick<AppOptions, 'queue' | 'metrics' | 'ending'>,
): void {
  serveRoute(app, routes.health, (context) => context.json({ status: 'ok' }))
  serveRoute(app, routes.ready, async (context) => {
    const ready = await queue.assertReady().then(
      () => !ending.aborted,
      () => false,
    )
    return ready ? context.json({ status: 'ok' }) : context.json({ status: 'unavailable' }, 503)
  })
  app.get('/metrics', async (context) => {
    const text = await metrics.registry.metrics()
    return context.text(text, 200, { 'Content-Type': metrics.registry.contentType })
  })
}

export function serveDocument(app: App): void {
  app.get('/openapi.json', (context) => context.json(documentOf(app)))
}

/** The OpenAPI document, made from the schemas. */
export function documentOf(app: App): ReturnType<App['getOpenAPI31Document']> {
  return app.getOpenAPI31Document({
    openapi: '3.1.0',
    info: {
      title: 'diskferry image export',
      version: '1',
      description: 'Exports images of virtual machines into object storage.',
    },
  })
}
