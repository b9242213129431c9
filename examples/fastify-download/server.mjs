// DISKS=folder PORT=3000 node server.mjs; then GET /disks/NAME?as=vhd downloads the disk as another format.
import { basename, join } from 'node:path'
import { convertToStream, createPool, describeFormats, isDiskferryError } from 'diskferry'
import Fastify from 'fastify'

const { DISKS = '.', PORT = '3000' } = process.env
const pool = createPool()
const app = Fastify({ logger: process.env.LOG === '1' })
const writable = describeFormats().flatMap(({ name, writes }) => (writes ? [name] : []))

const schema = {
  querystring: { type: 'object', properties: { as: { enum: writable, default: 'qcow2' } } },
}

app.get('/disks/:name', { schema }, async (request, reply) => {
  const name = basename(request.params.name) // a name, not a path: nothing outside of the folder
  const to = request.query.as
  const { stream, size, result } = await convertToStream({ source: join(DISKS, name), to, pool })
  result.catch((error) => request.log.warn(error)) // the client went away, or the image broke off: the stream has failed too
  if (size !== undefined) reply.header('Content-Length', size)
  reply.header('Content-Disposition', `attachment; filename*=UTF-8''${encodeURIComponent(`${name}.${to}`)}`)
  return reply.type('application/octet-stream').send(stream)
})

/** What went wrong before the first byte becomes an answer. */
app.setErrorHandler((error, _request, reply) => {
  if (!isDiskferryError(error)) return reply.status(error.statusCode ?? 500).send({ message: error.message })
  const status = error.code === 'source-unreadable' ? 404 : 422
  return reply.status(status).send({ code: error.code, message: error.message, hint: error.hint })
})

app.addHook('onClose', () => pool.close())
process.once('SIGTERM', () => app.close())
console.log(await app.listen({ port: Number(PORT), host: '127.0.0.1' }))
