import { readSync } from 'node:fs'
import { DiskferryError } from '../../bytes/errors.ts'
import { readFailed, type SourceFile, shortRead } from '../../io/source.ts'
import { STAGED_WIDTH, type StagedInput, type TaskInput } from './tasks.ts'

/** Reads the source's bytes inside a task. */
export interface HostReader {
  /** Copies exactly `length` bytes at `host` to `into[at]`. */
  copy(host: number, length: number, into: Uint8Array, at: number): void
  /** Exactly `length` bytes at `host`. They are the reader's, and good until its next call. */
  view(host: number, length: number): Uint8Array
}

export function hostReader(input: TaskInput): HostReader {
  return 'files' in input ? fileReader(input.files) : stagedReader(input)
}

/** Memory of this thread, used again by every task. Tasks run to their end before the next one begins. */
let scratch = Buffer.alloc(0)

function fileReader(files: readonly SourceFile[]): HostReader {
  const copy = (host: number, length: number, into: Uint8Array, at: number): void => {
    for (let done = 0; done < length; ) {
      const position = host + done
      const file = files.find(({ base, length }) => position < base + length)
      const wanted = file === undefined ? 0 : Math.min(length - done, file.base + file.length - position)
      const got = file === undefined ? 0 : read(file, into, at + done, wanted, position - file.base)
      if (got === 0) throw shortRead(file?.name, host, length, done)
      done += got
    }
  }
  return {
    copy,
    view(host, length) {
      if (scratch.length < length) scratch = Buffer.allocUnsafeSlow(length)
      copy(host, length, scratch, 0)
      return scratch.subarray(0, length)
    },
  }
}

function read({ fd, name }: SourceFile, into: Uint8Array, at: number, length: number, offset: number): number {
  try {
    return readSync(fd, into, at, length, offset)
  } catch (cause) {
    throw readFailed(name, offset, cause)
  }
}

/** Tasks ask in the order in which their bytes were staged, so looking goes on where it last ended. */
function stagedReader({ bytes, runs }: StagedInput): HostReader {
  let run = 0
  let position = 0
  const count = runs.length / STAGED_WIDTH
  const view = (host: number, length: number): Uint8Array => {
    for (let tried = 0; tried <= count; tried++) {
      const runHost = runs[run * STAGED_WIDTH] as number
      const runLength = runs[run * STAGED_WIDTH + 1] as number
      if (host >= runHost && host + length <= runHost + runLength) {
        const from = position + (host - runHost)
        return bytes.subarray(from, from + length)
      }
      position += runLength
      run += 1
      if (run === count) {
        run = 0
        position = 0
      }
    }
    throw new DiskferryError('plan-violated', `bytes at ${host} were not staged`, { offset: host, found: length })
  }
  return { view, copy: (host, length, into, at) => into.set(view(host, length), at) }
}
