import { getEventListeners } from 'node:events'
import { readdir, readFile, readlink, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { S3Client } from '@aws-sdk/client-s3'
import type * as Library from '../../src/index.ts'
import { noise } from './pattern.ts'
import { convertImage, createImage, qemuIo } from './qemu.ts'

const MiB = 2 ** 20

/** What conversions are made with, over and over. */
export interface LeakBench {
  readonly library: typeof Library
  readonly folder: string
  readonly client: S3Client
  readonly bucket: string
  /** One for all of them, as that of a service that shuts down: a listener that stays is seen on it. */
  readonly signal: AbortSignal
  readonly pool: Library.Pool
}

export async function makeImages(folder: string): Promise<void> {
  await writeFile(join(folder, 'disk.raw'), noise(1, 6 * MiB))
  await convertImage([join(folder, 'disk.raw'), 'raw'], [join(folder, 'disk.qcow2'), 'qcow2'])
  await writeFile(join(folder, 'damaged.qcow2'), Buffer.alloc(65536, Buffer.from('QFI\xfb', 'latin1')))
}

/** Ways in which a conversion goes, and ends. Each is awaited, and gives the bytes that it wrote. */
export const leakJobs: Readonly<Record<string, (bench: LeakBench) => Promise<unknown>>> = {
  'a file, threads of its own': ({ library, folder, signal }) =>
    library.convert({ ...fromQcow2(folder), to: 'vhd', target: join(folder, 'a.vhd'), threads: 2, signal }),
  'a packed file, shared threads': ({ library, folder, signal, pool }) => {
    const options = { compression: 'zlib' } as const
    return library.convert({ ...fromRaw(folder), to: 'qcow2', options, target: join(folder, 'b.qcow2'), pool, signal })
  },
  'a stream, read to its end': async ({ library, folder, signal, pool }) => {
    const { stream, result } = await library.convertToStream({ ...fromQcow2(folder), to: 'raw', pool, signal })
    for await (const _ of stream);
    return result
  },
  'a stream, given up midway': async ({ library, folder, signal, pool }) => {
    const { stream, result } = await library.convertToStream({ ...fromQcow2(folder), to: 'zvhd2', pool, signal })
    for await (const _ of stream) break
    return refused(result)
  },
  'a damaged image': ({ library, folder, signal }) =>
    refused(
      library.convert({
        source: join(folder, 'damaged.qcow2'),
        to: 'raw',
        target: join(folder, 'c'),
        threads: 1,
        signal,
      }),
    ),
  'an abort midway': ({ library, folder, pool }) => {
    const controller = new AbortController()
    const onProgress: Library.ProgressListener = ({ phase }) => phase === 'transfer' && controller.abort()
    const options = { ...fromRaw(folder), to: 'raw', target: join(folder, 'd'), pool, onProgress } as const
    return refused(library.convert({ ...options, signal: controller.signal }))
  },
  'an object': ({ library, folder, client, bucket, signal, pool }) => {
    const target = library.s3Target({ client, bucket, key: 'e.vhd', overwrite: true })
    return library.convert({ ...fromQcow2(folder), to: 'vhd', target, pool, signal })
  },
  'an object, into a bucket that is not there': ({ library, folder, client, signal, pool }) => {
    const target = library.s3Target({ client, bucket: 'nowhere', key: 'f.vhd' })
    return refused(library.convert({ ...fromQcow2(folder), to: 'vhd', target, pool, signal }))
  },
}

const fromQcow2 = (folder: string) => ({ source: join(folder, 'disk.qcow2') })
const fromRaw = (folder: string) => ({ source: join(folder, 'disk.raw'), from: 'raw' as const })

function refused(conversion: Promise<unknown>): Promise<unknown> {
  return conversion.then(
    () => Promise.reject(new Error('a conversion that should have failed went well')),
    (error: unknown) => error,
  )
}

/** A disk of so many GiB with 64 MiB of data here and there, into a compressed image and into a raw file with holes. */
export async function convertHuge({ library, folder, pool }: LeakBench, gib: number): Promise<void> {
  const source = join(folder, 'huge.qcow2')
  await createImage(source, 'qcow2', gib * 2 ** 30)
  const writes = Array.from(
    { length: 64 },
    (_, index) => `write -q -P ${index + 1} ${Math.floor((gib * index) / 64)}G 1M`,
  )
  await qemuIo(source, 'qcow2', writes)
  const options = { compression: 'zlib' } as const
  await library.convert({ source, to: 'qcow2', options, target: join(folder, 'huge-packed.qcow2'), pool })
  await library.convert({ source, to: 'raw', target: join(folder, 'huge.raw'), pool })
  if ((await stat(join(folder, 'huge.raw'))).size !== gib * 2 ** 30) throw new Error('the raw disk is not whole')
}

/** What a process holds. */
export interface Holdings {
  readonly descriptors: number
  readonly sockets: number
  readonly threads: number
  readonly listeners: number
  /** Bytes that JavaScript still needs, on its heap and beside it. */
  readonly memory: number
  /** Resident, bytes: what the allocator keeps of freed memory included. */
  readonly resident: number
  /** Files left in the folder. */
  readonly partials: number
}

export async function holdings({ folder, signal }: LeakBench, retained: () => number): Promise<Holdings> {
  // What ends, ends within some turns of the event loop: sockets are closed, threads joined. What is finalised at one
  // collection frees what it held at the next.
  for (let turn = 0; turn < 4; turn++) {
    await delay(100)
    retained()
  }
  const links = await Promise.all(
    (await readdir('/proc/self/fd')).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')),
  )
  const status = await readFile('/proc/self/status', 'utf8')
  const ofProcess = process.eventNames().reduce((sum, name) => sum + process.listenerCount(name), 0)
  return {
    descriptors: links.filter((link) => link !== '' && !link.startsWith('socket:')).length,
    sockets: links.filter((link) => link.startsWith('socket:')).length,
    threads: Number(/^Threads:\s*(\d+)/m.exec(status)?.[1]),
    listeners: ofProcess + getEventListeners(signal, 'abort').length,
    memory: retained(),
    resident: process.memoryUsage.rss(),
    partials: (await readdir(folder)).filter((name) => name.endsWith('.partial')).length,
  }
}
