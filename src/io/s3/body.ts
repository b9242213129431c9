import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import type { PutObjectCommand, UploadPartCommand } from '@aws-sdk/client-s3'

/** How a body is covered by a request's signature. `unsigned` leaves it to the CRC-32C in the header, which is signed. */
export type PayloadSigning = 'unsigned' | 'sha256'

const UNSIGNED = 'UNSIGNED-PAYLOAD'

/** Chunks as a stream: none of them is copied or joined. `onRead` is told whenever the connection asks for more. */
function streamOf(chunks: readonly Uint8Array[], onRead: () => void): Readable {
  const full = chunks.filter(({ length }) => length > 0)
  let next = 0
  return new Readable({
    read() {
      onRead()
      this.push(full[next] ?? null)
      next += 1
    },
  })
}

/** What a request's signature says of its body. */
export function payloadHash(chunks: readonly Uint8Array[], signing: PayloadSigning): string {
  if (signing === 'unsigned') return UNSIGNED
  const hash = createHash('sha256')
  for (const chunk of chunks) hash.update(chunk)
  return hash.digest('hex')
}

/** What the SDK is told to send: the bytes themselves come in when everything else is settled. */
export const PLACEHOLDER = new Uint8Array(0)

interface Request {
  readonly headers: Record<string, string>
  body: unknown
}

/** The part of the SDK's commands that is used here: its middleware is typed by command, and this serves all of them. */
interface Stack {
  readonly middlewareStack: {
    add(
      middleware: (next: Next) => Next,
      options: { step: 'build' | 'deserialize'; priority: 'low'; name: string },
    ): void
  }
}

type Next = (args: { request: Request }) => Promise<unknown>

/**
 * Sends `chunks` as the body of a command made with `PLACEHOLDER` and a length. The signature has their `hash`, the SDK
 * computes none; every attempt, the SDK's own too, has a stream of its own. Nobody is asked whether to continue: a client
 * without an agent of its own would open a connection for each part, and a store that does not answer costs a second.
 */
export function withBody(
  command: UploadPartCommand | PutObjectCommand,
  chunks: readonly Uint8Array[],
  { hash, keepsChecksum, onRead }: { hash: string; keepsChecksum: boolean; onRead: () => void },
): UploadPartCommand {
  const settle = (next: Next) => (args: { request: Request }) => {
    const { headers } = args.request
    headers['x-amz-content-sha256'] = hash
    delete headers.Expect
    if (!keepsChecksum) for (const name of Object.keys(headers)) if (/checksum/i.test(name)) delete headers[name]
    return next(args)
  }
  const fill = (next: Next) => (args: { request: Request }) => {
    args.request.body = streamOf(chunks, onRead)
    return next(args)
  }
  const { middlewareStack } = command as unknown as Stack
  middlewareStack.add(settle, { step: 'build', priority: 'low', name: 'settleBody' })
  middlewareStack.add(fill, { step: 'deserialize', priority: 'low', name: 'fillBody' })
  return command as UploadPartCommand
}
