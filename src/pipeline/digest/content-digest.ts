import { createHash } from 'node:crypto'
import { KiB } from '../../bytes/units.ts'

/**
 * The digest of a disk's content, whatever holds it: a binary tree of SHA-256.
 *
 *     leaf          SHA-256 of a block: 64 KiB of guest bytes; the last block is filled up with zeros
 *     node          SHA-256 of its two children, left then right: 64 bytes
 *     top           of the smallest complete tree that has a leaf for each block; leaves beyond the disk are zero blocks
 *     digest        SHA-256 of "diskferry content 1\n", the disk's size in bytes (64 bits, big-endian), and the top
 *
 * What is hashed for a leaf, a node and the digest differs in length, so none can pass for another. A subtree of zero
 * blocks has the same hash wherever it is: it is known beforehand, and holes cost nothing.
 */
export const DIGEST_BLOCK = 64 * KiB
export const DIGEST_NAME = 'diskferry content 1'
export const HASH_SIZE = 32

export function sha256(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest()
}

function node(left: Uint8Array, right: Uint8Array): Buffer {
  return createHash('sha256').update(left).update(right).digest()
}

/** Takes the leaves in ascending order, those of zero blocks left out. Holds one hash for each level. */
export class ContentDigest {
  readonly #size: number
  readonly #height: number
  /** Hash of a subtree of zero blocks, by its height. */
  readonly #zeros: Buffer[]
  /** Complete subtrees that await their right neighbour, the larger ones first. */
  readonly #pending: { height: number; hash: Buffer }[] = []
  /** Leaves that have been taken, zeros included. */
  #count = 0

  constructor(size: number) {
    this.#size = size
    const blocks = Math.ceil(size / DIGEST_BLOCK)
    this.#zeros = [sha256(Buffer.alloc(DIGEST_BLOCK))]
    for (let leaves = 1; leaves < blocks; leaves *= 2) {
      const below = this.#zeros.at(-1) as Buffer
      this.#zeros.push(node(below, below))
    }
    this.#height = this.#zeros.length - 1
  }

  add(block: number, leaf: Buffer): void {
    this.#zerosUpTo(block)
    this.#push(0, leaf)
  }

  /** 64 hexadecimal digits. */
  end(): string {
    this.#zerosUpTo(2 ** this.#height)
    const size = Buffer.alloc(8)
    size.writeBigUInt64BE(BigInt(this.#size))
    const top = this.#pending[0]?.hash as Buffer
    return createHash('sha256').update(`${DIGEST_NAME}\n`).update(size).update(top).digest('hex')
  }

  /** Each step takes the largest subtree of zeros that begins here and ends in time. */
  #zerosUpTo(block: number): void {
    while (this.#count < block) {
      let height = 0
      while (this.#count % 2 ** (height + 1) === 0 && this.#count + 2 ** (height + 1) <= block) height += 1
      this.#push(height, this.#zeros[height] as Buffer)
    }
  }

  #push(height: number, hash: Buffer): void {
    this.#count += 2 ** height
    let [reached, joined] = [height, hash]
    for (let last = this.#pending.at(-1); last?.height === reached; last = this.#pending.at(-1)) {
      joined = node(last.hash, joined)
      reached += 1
      this.#pending.pop()
    }
    this.#pending.push({ height: reached, hash: joined })
  }
}
