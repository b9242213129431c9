import { createHash, timingSafeEqual } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { z } from 'zod'
import { DiskferryError } from '../../bytes/errors.ts'
import type { Authenticator, Caller } from '../seams.ts'

const tokensSchema = z.array(
  z.strictObject({
    sha256: z.string().regex(/^[0-9a-f]{64}$/, 'the SHA-256 of a token, 64 hexadecimal digits'),
    project: z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, '1 to 64 letters, digits, "-", "_"'),
    roles: z.array(z.string()).default([]),
    expires: z.iso.datetime().optional(),
  }),
)

/**
 * Tokens from a file that holds only their SHA-256: a list of `{sha256, project, roles, expires}`. That is enough for
 * tokens that are long and random, as these have to be. Every one is compared, each in constant time.
 * @throws DiskferryError `usage` for a file that can't be read, or is no such list
 */
export async function tokenFileAuthenticator(path: string): Promise<Authenticator> {
  const tokens = (await readTokens(path)).map(({ sha256, ...token }) => ({
    ...token,
    hash: Buffer.from(sha256, 'hex'),
  }))
  return {
    async authenticate(token) {
      const hash = createHash('sha256').update(token).digest()
      let found: Caller | undefined
      for (const { hash: known, project, roles, expires } of tokens) {
        const isGood = timingSafeEqual(hash, known) && (expires === undefined || Date.parse(expires) > Date.now())
        found = isGood ? { project, roles } : found
      }
      return found
    },
  }
}

async function readTokens(path: string): Promise<z.output<typeof tokensSchema>> {
  try {
    return tokensSchema.parse(JSON.parse(await readFile(path, 'utf8')))
  } catch (cause) {
    const why = cause instanceof z.ZodError ? z.prettifyError(cause) : (cause as Error).message
    throw new DiskferryError('usage', `the file of tokens ${path} can't be used: ${why}`, { cause })
  }
}
