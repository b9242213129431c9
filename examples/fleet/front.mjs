// node front.mjs: takes exports over HTTP and hands them to the workers; any number of these may run.
import { once } from 'node:events'
import { createServer } from 'node:http'
import { createExportService, nodeListener, openFleetQueue, tokenFileAuthenticator } from 'diskferry/service'
import { catalog, onceTold, onError, PORT, REDIS, TOKENS, targets } from './fleet.mjs'

const queue = await openFleetQueue({ redis: REDIS, onError }) // without `run`: jobs are only handed in
const authenticator = await tokenFileAuthenticator(TOKENS)
const service = createExportService({ catalog, targets, authenticator, queue })
const server = createServer(nodeListener(service)).listen(Number(PORT), '127.0.0.1')
await once(server, 'listening')
console.log(`http://127.0.0.1:${server.address().port}`)

onceTold(async () => {
  service.end()
  server.close()
  await queue.close()
  server.closeAllConnections()
})
