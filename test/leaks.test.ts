import { expect, it } from 'vitest'
import { runNode } from './support/run-node.ts'

it('keeps nothing of 80 conversions, nor of one of 200 GiB: the process holds what it held before', async () => {
  const args = ['--import', './scripts/typescript.mjs', 'scripts/leaks.ts', '--conversions', '80', '--huge', '200']
  const { code, stdout, stderr } = await runNode(args, { timeoutMs: 110_000 })
  console.log(stdout.toString())
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout.toString().match(/descriptors \d+, sockets \d+, threads \d+/g)).toHaveLength(7)
})
