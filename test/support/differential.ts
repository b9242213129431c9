import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { type FormatName, isDiskferryError, memorySource, openImage } from '../../src/index.ts'
import { firstDifference, readDisk } from './convert.ts'
import { mutate } from './fuzz-mutator.ts'
import type { FuzzSubject } from './fuzz-subjects.ts'
import { pick, randomOf } from './pattern.ts'
import { runTool } from './tools.ts'

export type Verdict = 'same' | 'both refuse' | 'only we read it' | 'only QEMU reads it' | 'another content'

/** What an image came to with us, and with QEMU. */
export interface Comparison {
  readonly seed: number
  readonly subject: FuzzSubject
  readonly bytes: Buffer
  readonly verdict: Verdict
  /** In words that do not depend on the numbers: our error, QEMU's, or where contents differ. */
  readonly detail: string
}

export const isReadable = ({ verdict }: Comparison) => !['both refuse', 'only QEMU reads it'].includes(verdict)
export const isDisagreement = ({ verdict }: Comparison) => !['both refuse', 'same'].includes(verdict)

const QEMU_FORMAT: Partial<Record<FormatName, string>> = {
  qcow2: 'qcow2',
  vhd: 'vpc',
  vmdk: 'vmdk',
  vdi: 'vdi',
  vhdx: 'vhdx',
}
/** Larger disks take too long to be written out again and again. */
const MOST_DISK = 16 * 2 ** 20
const ASK_OF_REFUSED = 0.1
/** What QEMU may take: it is the one that is not held to any bounds by its readers. */
const LIMITS = ['--as=1500000000', '--cpu=10', `--fsize=${256 * 2 ** 20}`]
/** The machine had no thread to give to QEMU just then, which says nothing about the image. */
const NO_ANSWER = /qemu_thread_create/
const TRIES = 5

/** Of each kind that QEMU reads too, in one file. */
export function comparable(subjects: readonly FuzzSubject[]): FuzzSubject[] {
  return subjects.filter(({ format, wrap }) => QEMU_FORMAT[format] !== undefined && wrap === undefined)
}

/**
 * Undefined where the mutant is of no use: its disk is too large to be written out, or we refuse it and it is not one of
 * the few of which QEMU is asked all the same.
 */
export async function compareMutant(
  subjects: readonly FuzzSubject[],
  seed: number,
  folder: string,
): Promise<Comparison | undefined> {
  const random = randomOf(seed)
  const subject = pick(random, subjects)
  const other = pick(
    random,
    subjects.filter(({ format }) => format === subject.format),
  )
  const bytes = mutate(subject, other.bytes, seed, 2)
  const ours = await byUs(bytes, subject.format)
  if (ours === undefined || ('refusal' in ours && random() > ASK_OF_REFUSED)) return undefined
  const theirs = await byQemu(bytes, subject.format, folder)
  return { seed, subject, bytes, ...judge(ours, theirs) }
}

type Read = Buffer | { readonly refusal: string }
/** The disk ends at `size`, in its last sector. */
type OurRead = { readonly disk: Buffer; readonly size: number } | { readonly refusal: string }

function judge(ours: OurRead, theirs: Read): Pick<Comparison, 'verdict' | 'detail'> {
  if ('refusal' in ours) {
    if (Buffer.isBuffer(theirs)) return { verdict: 'only QEMU reads it', detail: ours.refusal }
    return { verdict: 'both refuse', detail: ours.refusal }
  }
  if (!Buffer.isBuffer(theirs)) return { verdict: 'only we read it', detail: theirs.refusal }
  const difference = firstDifference(ours.disk, theirs)
  if (difference === undefined) return { verdict: 'same', detail: '' }
  return { verdict: 'another content', detail: differenceOfEnds(ours, theirs) ?? difference }
}

export const ROUNDED_DOWN = 'QEMU leaves out the last, partial sector'
export const ROUNDED_UP = "QEMU shows what lies behind the disk's end, in its last sector"

/** What QEMU does with a disk that ends inside a sector, where nothing else differs. */
function differenceOfEnds({ disk, size }: { disk: Buffer; size: number }, theirs: Buffer): string | undefined {
  const whole = size - (size % 512)
  if (whole === size) return undefined
  if (theirs.length === whole && disk.subarray(0, whole).equals(theirs)) return ROUNDED_DOWN
  const sameLength = theirs.length === disk.length
  return sameLength && disk.subarray(0, size).equals(theirs.subarray(0, size)) ? ROUNDED_UP : undefined
}

async function byUs(bytes: Buffer, format: FormatName): Promise<OurRead | undefined> {
  try {
    const { virtualSize: size } = await openImage(memorySource(bytes), { from: format })
    return size > MOST_DISK ? undefined : { disk: await readDisk(bytes, format), size }
  } catch (error) {
    if (!isDiskferryError(error)) throw error
    return { refusal: `${error.code}: ${general(error.message)}` }
  }
}

async function byQemu(bytes: Buffer, format: FormatName, folder: string): Promise<Read> {
  const [image, disk] = [join(folder, 'image'), join(folder, 'disk')]
  await writeFile(image, bytes)
  await rm(disk, { force: true })
  const convert = ['qemu-img', 'convert', '-f', QEMU_FORMAT[format] as string, '-O', 'raw', image, disk]
  for (let tries = 1; ; tries++) {
    try {
      await runTool('prlimit', [...LIMITS, ...convert], { cwd: folder, timeoutMs: 30_000 })
      return await readFile(disk)
    } catch (error) {
      if (!NO_ANSWER.test(String(error))) return { refusal: general(String(error).split('\n').slice(1).join(' ')) }
      if (tries === TRIES) throw error
      await setTimeout(tries * 1000)
    }
  }
}

/** A message without what is only of this image. */
function general(message: string): string {
  return message
    .replace(/\/\S+?'/g, "…'")
    .replace(/"[^"]*"/g, '"…"')
    .replace(/0x[0-9a-f]+|\d+/gi, '#')
    .replace(/ended with #|qemu-img: |Could not open '…': /g, '')
    .trim()
    .slice(0, 140)
}
