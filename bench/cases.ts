import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { BenchImage, Variant } from './images.ts'
import { inService, type Program, runCommand } from './measure.ts'
import { awsCopy, awsFetch, diskferry, inTurn, PIGZ_LEVEL_1, QEMU_FAST, qemuImg, sdkUpload } from './peers.ts'
import type { ServiceJob } from './service.ts'
import type { Store } from './stores.ts'

/** Our library where it lives: in a process that has started, and shares its threads. */
export const IN_SERVICE = 'diskferry, in a service'

type Format = ServiceJob['to']
type Options = Readonly<Record<string, string | number>>

/** The same work for several programs; those whose names begin with ours are ours, the first one a process of its own. */
export interface BenchCase {
  readonly name: string
  readonly title: string
  readonly image: Variant
  readonly store?: 'swift' | 'given' | 'drain'
  /** What our time divided by the fastest peer's should be, at most. */
  readonly target?: number
  /** Left out of the quick set. */
  readonly slow?: true
  programs(image: BenchImage, place: Place): Program[]
}

export interface Place {
  /** Where files may be written, on a file system in memory where there is room. */
  readonly folder: string
  readonly store: Store | undefined
}

export const cases: readonly BenchCase[] = [
  fileCase('qcow2-vhd', 'qcow2 to VHD', 'qcow2', 'vhd', 0.8),
  fileCase('qcow2-qcow2', 'qcow2 to qcow2', 'qcow2', 'qcow2', 0.8),
  fileCase('qcow2-raw', 'qcow2 to raw', 'qcow2', 'raw', 0.8),
  fileCase('raw-qcow2', 'sparse raw to qcow2', 'raw', 'qcow2', 0.8),
  fileCase('vhd-qcow2', 'VHD to qcow2', 'vhd', 'qcow2', 0.8),
  fileCase('vmdk-vhd', 'VMDK to VHD', 'vmdk', 'vhd', 0.8),
  { ...fileCase('large-disk', 'qcow2 to VHD, 80 GiB disk', 'large', 'vhd'), slow: true },
  fileCase('much-vhd', 'qcow2 with much data to VHD', 'much', 'vhd', 0.8),
  fileCase('much-qcow2', 'qcow2 with much data to qcow2', 'much', 'qcow2', 0.8),
  fileCase('much-raw', 'qcow2 with much data to raw', 'much', 'raw', 0.8),
  fileCase('zlib-raw', 'qcow2 (zlib) to raw', 'zlib', 'raw', 0.8),
  fileCase('zlib-vhd', 'qcow2 (zlib) to VHD', 'zlib', 'vhd', 0.8),
  fileCase('zstd-raw', 'qcow2 (zstd) to raw', 'zstd', 'raw', 0.8),
  fileCase('zstd-vhd', 'qcow2 (zstd) to VHD', 'zstd', 'vhd', 0.8),
  {
    ...fileCase('vmdk-stream', 'qcow2 to VMDK streamOptimized, level 6', 'qcow2', 'vmdk', 0.25),
    programs: ({ file }, { folder }) => [
      ...ourRuns('vmdk', file, folder, { level: 6 }),
      ...withLibdeflate(file, folder),
      into('qemu-img', join(folder, 'qemu.vmdk'), (to) =>
        qemuImg(file, to, 'vmdk', ['-o', 'subformat=streamOptimized']),
      ),
    ],
  },
  {
    ...fileCase('qcow2-zlib', 'qcow2 to compressed qcow2, level 6', 'qcow2', 'qcow2', 0.5),
    programs: ({ file }, { folder }) => [
      ...ourRuns('qcow2', file, folder, { compression: 'zlib', level: 6 }),
      into('qemu-img -c -m 16 -W', join(folder, 'qemu.qcow2'), (to) =>
        qemuImg(file, to, 'qcow2', ['-c', ...QEMU_FAST]),
      ),
    ],
  },
  {
    name: 'zvhd',
    title: 'qcow2 to ZVHD, level 1, beside one core of zlib',
    image: 'qcow2',
    target: 0.6,
    programs: ({ file }, { folder }) => [
      ...ourRuns('zvhd', file, folder, { level: 1 }),
      into('pigz -p 1 -1', join(folder, 'pigz.gz'), (to) => ['/bin/sh', '-c', `${PIGZ_LEVEL_1} < '${file}' > '${to}'`]),
    ],
  },
  {
    name: 's3-swift',
    title: 'qcow2 to VHD, into Swift',
    image: 'qcow2',
    store: 'swift',
    target: 0.6,
    programs: intoStore,
  },
  {
    name: 's3-given',
    title: 'qcow2 to VHD, into a given store',
    image: 'qcow2',
    store: 'given',
    target: 0.6,
    programs: intoStore,
  },
  {
    name: 's3-drain',
    title: 'qcow2 to VHD, into a drain',
    image: 'qcow2',
    store: 'drain',
    target: 0.4,
    programs: intoStore,
  },
  {
    name: 's3-s3',
    title: 'qcow2 in Swift to VHD in Swift',
    image: 'qcow2',
    store: 'swift',
    slow: true,
    programs: withinStore,
  },
]

/** A job into a file, beside qemu-img as it is and as it is fastest. */
function fileCase(name: string, title: string, image: Variant, to: Format, target?: number): BenchCase {
  return {
    name,
    title,
    image,
    ...(target !== undefined && { target }),
    programs: ({ file, format }, { folder }) => [
      ...ourRuns(to, file, folder),
      into('qemu-img -m 16 -W', join(folder, `fast.${to}`), (at) =>
        qemuImg(file, at, to, ['-f', format, ...QEMU_FAST]),
      ),
      into('qemu-img', join(folder, `plain.${to}`), (at) => qemuImg(file, at, to, ['-f', format])),
    ],
  }
}

/** As a program of its own, and in a service that has started long before. */
function ourRuns(to: Format, file: string, folder: string, options: Options = {}): Program[] {
  const target = join(folder, `ours.${to}`)
  const served = join(folder, `served.${to}`)
  const from = file.endsWith('raw') ? ({ from: 'raw' } as const) : {}
  return [
    into('diskferry', target, (at) => diskferry(file, at, to, flagsOf(options))),
    {
      name: IN_SERVICE,
      ...inService({ source: file, ...from, to, options, target: served }),
      cleanUp: () => rm(served, { force: true }),
    },
  ]
}

/** The optional compressor: faster at the same level. */
function withLibdeflate(file: string, folder: string): Program[] {
  const options = { level: 6, compressor: 'libdeflate' }
  return [
    into('diskferry, libdeflate', join(folder, 'libdeflate.vmdk'), (at) =>
      diskferry(file, at, 'vmdk', flagsOf(options)),
    ),
  ]
}

function flagsOf(options: Options): string[] {
  return Object.entries(options).flatMap(([key, value]) => ['-o', `${key}=${value}`])
}

/** A program that leaves one file. */
function into(name: string, target: string, command: (target: string) => readonly string[]): Program {
  return { name, run: () => runCommand(command(target)), cleanUp: () => rm(target, { force: true }) }
}

/** Nothing else writes VHD straight into a store: the peers write a file and then upload it. */
function intoStore({ file }: BenchImage, { folder, store }: Place): Program[] {
  if (store === undefined) throw new Error('this case needs a store')
  const { env, bucket } = store
  const between = join(folder, 'between.vhd')
  const convert = qemuImg(file, between, 'vhd', QEMU_FAST)
  const peer = (name: string, upload: readonly string[]): Program => ({
    name: `qemu-img -m 16 -W, then ${name}`,
    run: () => runCommand(inTurn(convert, upload), env),
    async cleanUp() {
      await rm(between, { force: true })
      await store.remove('peer.vhd')
    },
  })
  return [
    {
      name: 'diskferry',
      run: () => runCommand(diskferry(file, `s3://${bucket}/ours.vhd`, 'vhd'), env),
      cleanUp: () => store.remove('ours.vhd'),
    },
    {
      name: IN_SERVICE,
      ...inService({ source: file, to: 'vhd', target: { bucket, key: 'served.vhd' } }, env),
      cleanUp: () => store.remove('served.vhd'),
    },
    peer('aws s3 cp', awsCopy(between, bucket, 'peer.vhd')),
    peer('lib-storage Upload', sdkUpload(between, bucket, 'peer.vhd')),
  ]
}

/** From one object to another. The peers fetch a file, convert it into another, and upload that. */
function withinStore({ file }: BenchImage, { folder, store }: Place): Program[] {
  if (store === undefined) throw new Error('this case needs a store')
  const { env, bucket } = store
  const key = 'source.qcow2'
  let uploaded: Promise<unknown> | undefined
  const program = (name: string, target: string, run: Program['run']): Program => ({
    name,
    async run() {
      uploaded ??= runCommand(awsCopy(file, bucket, key), env)
      await uploaded
      return run()
    },
    cleanUp: () => store.remove(target),
  })
  const [fetched, between] = [join(folder, 'fetched.qcow2'), join(folder, 'between.vhd')]
  const commands = [
    awsFetch(bucket, key, fetched),
    qemuImg(fetched, between, 'vhd', QEMU_FAST),
    awsCopy(between, bucket, 'peer.vhd'),
    ['rm', fetched, between],
  ]
  const served = inService({ source: { bucket, key }, to: 'vhd', target: { bucket, key: 'served.vhd' } }, env)
  return [
    program('diskferry', 'ours.vhd', () =>
      runCommand(diskferry(`s3://${bucket}/${key}`, `s3://${bucket}/ours.vhd`, 'vhd'), env),
    ),
    { ...program(IN_SERVICE, 'served.vhd', served.run), ...(served.stop && { stop: served.stop }) },
    program('aws s3 cp, qemu-img -m 16 -W, aws s3 cp', 'peer.vhd', () => runCommand(inTurn(...commands), env)),
  ]
}
