import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { BenchImage } from './images.ts'
import type { Program } from './measure.ts'
import { BUCKET, type Store } from './stores.ts'

/** The same work for several programs; the first one is ours. */
export interface BenchCase {
  readonly name: string
  readonly title: string
  readonly image: 'image' | 'tenfold'
  readonly store?: 'swift' | 'drain'
  programs(image: BenchImage, place: Place): Program[]
}

export interface Place {
  /** Where files may be written, on a file system in memory where there is room. */
  readonly folder: string
  readonly store: Store | undefined
}

const CLI = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url))
const UPLOAD = fileURLToPath(new URL('upload-file.mjs', import.meta.url))
/** As many requests at once as qemu-img can have, written in whatever order they end: its fastest. */
const QEMU_FAST = ['-m', '16', '-W']

export const cases: readonly BenchCase[] = [
  { name: 'file', title: 'qcow2 to VHD, into a file', image: 'image', programs: intoFile },
  { name: 'file-tenfold', title: 'the same data on a disk ten times as large', image: 'tenfold', programs: intoFile },
  { name: 's3-swift', title: 'qcow2 to VHD, into Swift', image: 'image', store: 'swift', programs: intoStore },
  { name: 's3-drain', title: 'qcow2 to VHD, into a drain', image: 'image', store: 'drain', programs: intoStore },
  {
    name: 's3-drain-tenfold',
    title: 'the same, ten times as large',
    image: 'tenfold',
    store: 'drain',
    programs: intoStore,
  },
]

function intoFile({ file }: BenchImage, { folder }: Place): Program[] {
  const target = (name: string) => join(folder, `${name}.vhd`)
  const cleanUp = async () => {
    for (const name of ['diskferry', 'qemu']) await rm(target(name), { force: true })
  }
  return [
    { name: 'diskferry', command: ours(file, target('diskferry')), cleanUp },
    { name: 'qemu-img -m 16 -W', command: qemu(file, target('qemu'), QEMU_FAST), cleanUp },
    { name: 'qemu-img', command: qemu(file, target('qemu')), cleanUp },
  ]
}

/** Nothing else writes VHD straight into a store: the peer writes a file and then uploads it. */
function intoStore({ file }: BenchImage, { folder, store }: Place): Program[] {
  if (store === undefined) throw new Error('this case needs a store')
  const { env } = store
  const between = join(folder, 'between.vhd')
  const steps = [
    quoted(qemu(file, between, QEMU_FAST)),
    quoted([process.execPath, UPLOAD, between, BUCKET, 'peer.vhd']),
  ]
  return [
    {
      name: 'diskferry',
      command: ours(file, `s3://${BUCKET}/ours.vhd`),
      env,
      cleanUp: () => store.remove('ours.vhd'),
    },
    {
      name: 'qemu-img -m 16 -W, then lib-storage Upload',
      command: ['/bin/sh', '-c', steps.join(' && ')],
      env,
      async cleanUp() {
        await rm(between, { force: true })
        await store.remove('peer.vhd')
      },
    },
  ]
}

function ours(source: string, target: string): string[] {
  return [process.execPath, CLI, 'convert', source, target, '--to', 'vhd', '--quiet']
}

function qemu(source: string, target: string, flags: readonly string[] = []): string[] {
  return ['qemu-img', 'convert', '-f', 'qcow2', '-O', 'vpc', ...flags, source, target]
}

function quoted(command: readonly string[]): string {
  return command.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ')
}
