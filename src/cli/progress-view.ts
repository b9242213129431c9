import { formatSize } from '../bytes/units.ts'
import type { Progress, ProgressListener } from '../index.ts'
import { printNote } from './output.ts'

/** Shows how far a conversion is, on standard error. */
export interface ProgressView {
  readonly listener: ProgressListener | undefined
  /** Ends the bar, so that what is printed next begins on a line of its own. */
  stop(): void
}

export async function progressView(quiet: boolean): Promise<ProgressView> {
  if (quiet) return { listener: undefined, stop: () => undefined }
  return process.stderr.isTTY ? await barView() : lineView()
}

const LABELS: Readonly<Record<Progress['phase'], string>> = {
  survey: 'looking through',
  transfer: 'converting',
  finish: 'finishing',
}
const LABEL_WIDTH = Math.max(...Object.values(LABELS).map(({ length }) => length))

async function barView(): Promise<ProgressView> {
  const { Presets, SingleBar } = await import('cli-progress')
  const format = '{label} [{bar}] {percentage}% | {facts}'
  const bar = new SingleBar(
    { format, stream: process.stderr, hideCursor: true, clearOnComplete: false },
    Presets.shades_classic,
  )
  let started = false
  return {
    listener(progress) {
      const payload = { label: LABELS[progress.phase].padEnd(LABEL_WIDTH), facts: describe(progress) }
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
      printNote(`${LABELS[progress.phase]}: ${describe(progress)}`)
    },
    stop: () => undefined,
  }
}

function describe({ done, total, bytesWritten, bytesPerSecond, etaSeconds }: Progress): string {
  if (total === 0) return `${formatSize(bytesWritten)} written`
  const left = etaSeconds === undefined ? '?' : `${Math.ceil(etaSeconds)} s`
  return `${formatSize(done)} of ${formatSize(total)}, ${formatSize(Math.round(bytesPerSecond))}/s, ${left} left`
}
