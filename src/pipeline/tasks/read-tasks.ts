import { isZero } from '../../bytes/zeros.ts'
import { HASH_SIZE, sha256 } from '../digest/content-digest.ts'
import { runOps } from './fill.ts'
import { hostReader } from './host-reader.ts'
import type { CompareResult, CompareTask, DigestResult, DigestTask, GuestRead } from './tasks.ts'

/** Memory of this thread for guest bytes, used again by every task. */
const scratch: Buffer[] = []

function readGuest(read: GuestRead, slot: number): Buffer {
  if ((scratch[slot]?.length ?? 0) < read.madeBytes) scratch[slot] = Buffer.allocUnsafeSlow(read.madeBytes)
  const bytes = scratch[slot]?.subarray(0, read.madeBytes) as Buffer
  runOps(read, hostReader(read.input), bytes)
  return bytes
}

/** SHA-256 of each block; zero blocks are only told: their hash is known. */
export function digest({ blockSize, ...read }: DigestTask): DigestResult {
  const bytes = readGuest(read, 0)
  const count = bytes.length / blockSize
  const leaves = new Uint8Array(count * HASH_SIZE)
  const zero = new Uint8Array(count)
  for (let block = 0; block < count; block++) {
    const from = block * blockSize
    if (isZero(bytes, from, from + blockSize)) zero[block] = 1
    else leaves.set(sha256(bytes.subarray(from, from + blockSize)), block * HASH_SIZE)
  }
  return { leaves, zero }
}

/** Where two runs of guest bytes first differ. */
export function compare({ first, second }: CompareTask): CompareResult {
  const [a, b] = [readGuest(first, 0), readGuest(second, 1)]
  if (a.equals(b)) return { differsAt: undefined }
  return { differsAt: a.findIndex((byte, index) => byte !== b[index]) }
}
