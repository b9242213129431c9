import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as Plot from '@observablehq/plot'
import { parseHTML } from 'linkedom'
import { type BenchReport, type CaseResult, isOurs } from './report.ts'
import { RESULTS, readReport, resultFiles } from './results.ts'

/* npm run bench:charts: draws the newest results as SVG, for the README. */

const SERVED = '#1a7f5a'
const OURS = '#7fbfa5'
const PEER = '#b8bec7'
const SVG = 'http://www.w3.org/2000/svg'

const newest = resultFiles().at(-1)
if (newest === undefined) throw new Error('there are no results yet: npm run bench')
const report = readReport(newest)
writeFileSync(join(RESULTS, 'jobs.svg'), chart(report))

/** What each job takes of the fastest peer's time: our library in a service, and our program with its start. */
function chart({ date, machine, versions, cases }: BenchReport): string {
  const bars = cases.flatMap((one) => [
    {
      title: one.title,
      who: 'served',
      share: one.inService,
      label: `${one.title}: ${one.inService.toFixed(2)} of the time`,
    },
    { title: one.title, who: 'ours', share: one.ratio, label: `${one.ratio.toFixed(2)} with the start of the program` },
    { title: one.title, who: 'peer', share: 1, label: `${fastestPeer(one)}: ${seconds(one)} s` },
  ])
  const height = 60 + cases.length * 58
  const { document } = parseHTML('<html><body></body></html>')
  const svg = Plot.plot({
    document,
    width: 860,
    marginLeft: 10,
    height,
    marginBottom: 30,
    axis: null,
    x: { domain: [0, Math.max(1, ...cases.map(({ ratio }) => ratio)) * 1.35] },
    color: { domain: ['served', 'ours', 'peer'], range: [SERVED, OURS, PEER] },
    fy: { domain: cases.map(({ title }) => title) },
    y: { domain: ['served', 'ours', 'peer'], padding: 0.1 },
    style: { fontFamily: 'system-ui, sans-serif', fontSize: '12px', background: 'white' },
    marks: [
      Plot.barX(bars, { fy: 'title', y: 'who', x: 'share', fill: 'who' }),
      Plot.text(bars, { fy: 'title', y: 'who', x: 'share', text: 'label', textAnchor: 'start', dx: 6 }),
    ],
  })
  svg.setAttribute('xmlns', SVG)
  const note = svg.appendChild(document.createElementNS(SVG, 'text'))
  note.setAttribute('transform', `translate(10,${height - 10})`)
  note.setAttribute('text-anchor', 'start')
  note.textContent = `${machine.cpu}, ${machine.cores} cores; Node ${versions.node}, qemu-img ${versions.qemuImg}; ${date}`
  return `${svg.outerHTML}\n`
}

function fastestPeer({ programs }: CaseResult): string {
  return peerOf(programs).name
}

function seconds({ programs }: CaseResult): string {
  return peerOf(programs).seconds.median.toFixed(2)
}

function peerOf(programs: CaseResult['programs']): CaseResult['programs'][number] {
  const [fastest] = programs.filter(({ name }) => !isOurs(name)).toSorted((a, b) => b.ratio.median - a.ratio.median)
  if (fastest === undefined) throw new Error('there is no peer')
  return fastest
}
