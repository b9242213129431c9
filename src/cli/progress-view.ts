import { Presets, SingleBar } from 'cli-progress'
import { formatSize } from '../bytes/units.ts'
import type { Progress, ProgressListener } from '../index.ts'
import { printNote } from './output.ts'

/** Shows how far a conversion is, on standard error. */
export interface ProgressView {
  readonly listener: ProgressListener | undefined
  /** Ends the bar, so that what is printed next begins on a line of its own. */
  stop(): void
}

export function progressView(quiet: boolean): ProgressView {
  if (quiet) return { listener: undefined, stop: () => undefined }
  return process.stderr.isTTY ? barView() : lineView()
}

const LABELS: Readonly<Record<Progress['phase'], string>> = {
  survey: 'looking through',
  transfer: 'converting',
  finish: 'finishing',
}

function barView(): ProgressView {
  const format = '{label} [{bar}] {percentage}% | {amount} | {rate}/s | {eta} left'
  const bar = new SingleBar(
    { format, stream: process.stderr, hideCursor: true, clearOnComplete: false },
    Presets.shades_classic,
  )
  let started = false
  return {
    listener(progress) {
      const payload = describe(progress)
      if (!started) bar.start(Math.max(1, progress.total), 0, payload)
      started = true
      bar.setTotal(Math.max(1, progress.total))
      bar.update(progress.total === 0 ? 1 : progress.done, payload)
    },
    stop: () => bar.stop(),
  }
}

/** At most one line in this time, for logs. */
const LINE_INTERVAL_MS = 1000

function lineView(): ProgressView {
  let last = 0
  return {
    listener(progress) {
      if (Date.now() - last < LINE_INTERVAL_MS) return
      last = Date.now()
      const { label, amount, rate, eta } = describe(progress)
      printNote(`${label}: ${amount}, ${rate}/s, ${eta} left`)
    },
    stop: () => undefined,
  }
}

function describe({
  phase,
  done,
  total,
  bytesPerSecond,
  etaSeconds,
}: Progress): Record<'label' | 'amount' | 'rate' | 'eta', string> {
  return {
    label: LABELS[phase].padEnd(15),
    amount: `${formatSize(done)} of ${formatSize(total)}`,
    rate: formatSize(Math.round(bytesPerSecond)),
    eta: etaSeconds === undefined ? '?' : `${Math.ceil(etaSeconds)} s`,
  }
}
