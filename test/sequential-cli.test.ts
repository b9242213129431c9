import { execFileSync } from 'node:child_process'
import { readFile, stat, writeFile } from 'node:fs/promises'
import { expect, it } from 'vitest'
import { convertInChild } from './support/child.ts'
import { convertToBytes, sha256 } from './support/convert.ts'
import { contentOf, makePattern } from './support/pattern.ts'
import { root } from './support/run-node.ts'
import { tempFolder } from './support/temp-folder.ts'
import { runTool } from './support/tools.ts'

const path = tempFolder()
const disk = contentOf(makePattern(81, 5 * 2 ** 20 + 512))
const cli = `${process.execPath} dist/cli/main.js`

it('standard input becomes standard output', async () => {
  await writeFile(path('disk.zvhd'), await convertToBytes({ source: disk, from: 'raw', to: 'zvhd' }))
  await runTool('bash', ['-c', `cat "$0" | ${cli} convert - - --to raw > "$1"`, path('disk.zvhd'), path('disk.raw')], {
    cwd: root,
  })
  expect(sha256(await readFile(path('disk.raw')))).toBe(sha256(disk))
})

it('an error is one JSON value when only the source is standard input', async () => {
  await writeFile(path('disk.raw'), disk)
  const script = `cat "$0" | ${cli} convert - "$1" --to zvhd --json --disk-size 6M`
  const { stdout } = await runTool('bash', ['-c', script, path('disk.raw'), path('out.zvhd')], {
    cwd: root,
    answers: [4],
  })
  expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'short-read', expected: 6 * 2 ** 20 } })
})

it('a small gzip file that becomes 1 GiB of zeros is unpacked in bounded memory, into holes', async () => {
  // Not in this process: what a child is told of its peak memory begins with that of its parent.
  execFileSync('/bin/sh', ['-c', `head -c 1G /dev/zero | gzip -1 > '${path('bomb.gz')}'`])
  const options = { source: path('bomb.gz'), to: 'raw', target: path('bomb.raw'), threads: 1 }
  const { peakMemory, error } = await convertInChild(options, { timeoutMs: 300_000 })
  expect(error).toBeUndefined()
  expect(peakMemory).toBeLessThan(2 ** 29)
  const { size, blocks } = await stat(path('bomb.raw'))
  expect({ size, blocks }).toEqual({ size: 2 ** 30, blocks: 0 })
})
