import { parseArgs } from 'node:util'
import { readReport, resultFiles } from './results.ts'

/*
 * npm run bench:compare [-- BEFORE NOW]: are we still as fast beside the peers as we were? Ratios, so that another day or
 * machine does not matter much. Ends with 1 when a job lost more than the tolerance. Default: the last two results.
 */

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { tolerance: { type: 'string', default: '0.15' } },
})
const [before, now] = positionals.length === 2 ? positionals : resultFiles().slice(-2)
if (before === undefined || now === undefined) throw new Error('there are no two results to compare: npm run bench')

const known = new Map(readReport(before).cases.map(({ name, ratio }) => [name, ratio]))
let lost = 0
for (const { name, ratio, inService, target } of readReport(now).cases) {
  const was = known.get(name)
  const change = was === undefined ? Number.NaN : ratio / was - 1
  const isLost = change > Number(values.tolerance)
  if (isLost) lost++
  const percent = Number.isNaN(change) ? 'new' : `${change > 0 ? '+' : ''}${Math.round(change * 100)} %`
  const goal = target === undefined ? '' : `  target ${target}${reached(target, ratio, inService)}`
  const served = `in a service ${inService.toFixed(2)}`
  console.log(
    `${isLost ? 'SLOWER ' : '       '}${name.padEnd(14)} ${ratio.toFixed(2)}  ${percent.padStart(6)}  ${served}${goal}`,
  )
}
process.exitCode = lost > 0 ? 1 : 0

function reached(target: number, ratio: number, inService: number): string {
  return ratio <= target ? ', reached' : inService <= target ? ', reached in a service' : ''
}
