import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { root } from './support/run-node.ts'
import { runTool } from './support/tools.ts'

const MiB = 2 ** 20
/** Fresh memory for each task took 560 MiB at the least; used again, it is 140 to 360 MiB, by format and version of Node. */
const MOST = 480 * MiB

/** Converts a raw disk of 768 MiB that the caller reads itself, and tells how much memory the process ever held. */
const SCRIPT = `
  import { pathToFileURL } from 'node:url'
  const [library, to] = process.argv.slice(1)
  const { convertToStream } = await import(pathToFileURL(library))
  const bytes = Buffer.alloc(8 * 2 ** 20, 'not zero')
  const source = { size: 768 * 2 ** 20, read: async (offset, length) => Buffer.from(bytes.subarray(0, length)) }
  const { stream, result } = await convertToStream({ source, from: 'raw', to, threads: 2 })
  let size = 0
  for await (const chunk of stream) size += chunk.length
  await result
  console.log(JSON.stringify({ size, peak: process.resourceUsage().maxRSS * 1024 }))
`

describe('a source that only the calling thread can read', () => {
  it.each([
    { to: 'raw', size: 768 * MiB },
    { to: 'vhd', size: 768 * MiB },
    { to: 'vmdk', size: MiB },
  ])('becomes $to in memory that is used again and again', async ({ to, size }) => {
    const args = ['--input-type=module', '--eval', SCRIPT, join(root, 'dist/index.js'), to]
    const { stdout } = await runTool(process.execPath, args)
    const found = JSON.parse(stdout) as { size: number; peak: number }
    expect(found.size).toBeGreaterThanOrEqual(size)
    expect(found.peak).toBeLessThan(MOST)
  })
})
