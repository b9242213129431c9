import { availableParallelism } from 'node:os'
import { describe, expect, it } from 'vitest'
import { startWorkers, takeWorkers } from '../src/cli/early-workers.ts'

const argv = (...words: string[]) => ['node', 'diskferry', ...words]
const conversion = ['convert', 'disk.qcow2', 'disk.vhd', '--to', 'vhd']

describe('the threads of a command', () => {
  it.runIf(availableParallelism() > 1)('load before it has read its options, and are taken once', async () => {
    startWorkers(argv(...conversion))
    const workers = takeWorkers()
    expect(workers?.threads).toBe(Math.min(16, availableParallelism()))
    expect(takeWorkers()).toBeUndefined()
    expect(await workers?.run('load', { codecs: [] })).toEqual({ result: undefined })
    await workers?.close()
  })

  it.each([['inspect', 'disk.qcow2'], ['--version'], [], ['convert', '--help'], [...conversion, '--threads', '3']])(
    'are not started for %j',
    (...words) => {
      startWorkers(argv(...(words as string[])))
      expect(takeWorkers()).toBeUndefined()
    },
  )
})
