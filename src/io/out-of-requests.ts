import { DiskferryError } from '../bytes/errors.ts'

/** A source that was asked to make few requests would have to make one more. */
export class OutOfRequests extends DiskferryError {
  constructor(name: string | undefined, requests: number) {
    const message = `${name ?? 'the source'} has its tables in many places, and each look costs a request`
    const hint = 'have all of them read: --allocation, allocation: true'
    super('source-unreadable', message, { expected: `at most ${requests} more requests`, hint })
  }
}
