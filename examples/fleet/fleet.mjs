// What every machine of the fleet shares: where images are, where they go, and the Redis that jobs are kept in.
import { folderCatalog, s3Targets } from 'diskferry/service'

export const {
  REDIS = 'redis://127.0.0.1:6379',
  IMAGES = 'images',
  TOKENS = 'tokens.json',
  PORT = '8080',
} = process.env
export const catalog = folderCatalog(IMAGES) // or your own ImageCatalog
export const targets = s3Targets() // or your own TargetResolver
export const onError = (error) => console.error(error)

/** Calls `stop` when the process is told to end, which then ends by itself. */
export function onceTold(stop) {
  for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => stop().catch(onError))
}
