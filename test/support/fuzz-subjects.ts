import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { type Companions, type FormatName, memorySource, openImage } from '../../src/index.ts'
import { convertToBytes } from './convert.ts'
import { buildQcow2 } from './qcow2-builder.ts'
import { root } from './run-node.ts'
import { makeSmallVdi, makeSmallVhdx } from './small-foreign.ts'
import { makeSmallImages, smallContent } from './small-images.ts'
import { countingSource } from './sources.ts'
import { buildVdi } from './vdi-builder.ts'
import { buildVhd } from './vhd-builder.ts'
import { vmdkSubjects } from './vmdk-subjects.ts'

/** An image to be damaged. */
export interface FuzzSubject {
  readonly name: string
  readonly format: FormatName
  readonly bytes: Buffer
  /** Where its structures lie: what a reader reads to find out where the guest's bytes are. */
  readonly places: readonly Place[]
  /** Opens the damaged image through another one that names it. */
  readonly wrap?: (bytes: Buffer) => { bytes: Buffer; companions: Companions }
}
export type Place = readonly [offset: number, length: number]

/** Larger fixtures cost too much to be copied for each round. */
const MAX_BYTES = 800_000

/** Every fixture, and a small image of every other kind that is read. */
export async function makeFuzzSubjects(): Promise<FuzzSubject[]> {
  const vhdx = await makeSmallVhdx()
  const vdi = await makeSmallVdi()
  const made: Omit<FuzzSubject, 'places'>[] = [
    ...fixtures(),
    ...(await makeSmallImages()),
    ...vmdkSubjects.map((subject) => ({ format: 'vmdk' as const, ...subject })),
    {
      name: 'VDI',
      format: 'vdi',
      bytes: buildVdi({ size: 16384, blockSize: 4096, blocks: ['free', 'zero', block(1)] }),
    },
    { name: 'VDI by QEMU', format: 'vdi', bytes: vdi },
    { name: 'VHDX', format: 'vhdx', bytes: vhdx },
    { name: 'differencing VHD', format: 'vhd', bytes: differencingVhd() },
    { name: 'a qcow2 with extensions', format: 'qcow2', bytes: extendedHeader() },
    ...(await byOurselves()),
  ]
  return Promise.all(made.map(async (subject) => ({ ...subject, places: await placesOf(subject) })))
}

function fixtures(): Omit<FuzzSubject, 'places'>[] {
  const folder = join(root, 'fixtures')
  return readdirSync(folder)
    .filter((name) => /\.(qcow2|vhd|zvhd2?)(\.gz)?$/.test(name))
    .map((name) => ({ name, bytes: unpacked(readFileSync(join(folder, name)), name) }))
    .filter(({ bytes }) => bytes.length <= MAX_BYTES)
    .map((fixture) => ({ ...fixture, format: fixture.name.split('.')[1] as FormatName }))
}

function unpacked(bytes: Buffer, name: string): Buffer {
  return name.endsWith('.gz') ? gunzipSync(bytes) : bytes
}

/** ZVHD, and the layouts of other formats that no tool here makes so small. */
async function byOurselves(): Promise<Omit<FuzzSubject, 'places'>[]> {
  const source = smallContent()
  const to = { zvhd: {}, zvhd2: {}, vmdk: {} } as const
  return Promise.all(
    (Object.keys(to) as (keyof typeof to)[]).map(async (format) => {
      const bytes = await convertToBytes({ source, from: 'raw', to: format, options: to[format] })
      return { name: `${format} by ourselves`, format, bytes }
    }),
  )
}

function block(value: number): Buffer {
  return Buffer.alloc(4096, value)
}

function differencingVhd(): Buffer {
  const blocks = [{ block: 1, data: block(7), bitmap: 0x5a }]
  return buildVhd({ size: 4 * 4096, blockSize: 4096, blocks, diskType: 4, parent: 'parent.vhd' })
}

function extendedHeader(): Buffer {
  const extensions = [
    [0xe2792aca, Buffer.from('raw')],
    [0x6803f857, Buffer.alloc(96, 'feature')],
  ] as const
  return buildQcow2({ backing: { offset: 1024, name: 'base.raw' }, extensions, size: 8192n })
}

/** Has the image read, and notes where. */
export async function placesOf({ bytes, format, wrap }: Omit<FuzzSubject, 'places'>): Promise<Place[]> {
  const counted = countingSource(bytes)
  const wrapped = wrap?.(bytes)
  const companions = wrapped && { open: async () => (wrapped.bytes === bytes ? memorySource(bytes) : counted) }
  try {
    const image = await openImage(wrapped && wrapped.bytes !== bytes ? memorySource(wrapped.bytes) : counted, {
      from: format,
      companions,
    })
    for await (const _ of image.extents());
  } catch {
    // What it read before it was refused is where its structures are.
  }
  return counted.reads.slice(0, 500).map(({ offset, length }) => [offset, Math.max(1, length)] as const)
}
