import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/**
 * Bytes that JavaScript has allocated, on its heap and beside it. What nobody needs any more counts until it is
 * collected, so a difference shows what was allocated in between, kept or not. Unlike the resident size it does not
 * depend on what the allocator keeps of memory that was freed.
 */
export function allocatedBytes(): number {
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

/** The same, of what is still needed. */
export function retainedBytes(): number {
  collect()
  return allocatedBytes()
}
