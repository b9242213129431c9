// DISKS=folder PORT=3000 node server.mjs
import { serve } from '@hono/node-server'
import { app } from './handler.mjs'

const server = serve({ fetch: app.fetch, port: Number(process.env.PORT ?? 3000), hostname: '127.0.0.1' }, ({ port }) =>
  console.log(`http://127.0.0.1:${port}`),
)
process.once('SIGTERM', () => server.close())
