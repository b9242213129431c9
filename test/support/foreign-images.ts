import { readFile, rm, writeFile } from 'node:fs/promises'
import {
  type Companions,
  type ConversionOptions,
  convert,
  type DiskImage,
  describeExtents,
  type ExtentInfo,
  memorySource,
} from '../../src/index.ts'
import { runTool } from './tools.ts'

/** Formats of others that are read here, by QEMU's names. */
export type ForeignFormat = 'vmdk' | 'vdi' | 'vhdx'
type Options = Readonly<Record<string, string | number>>

/** Has QEMU make an image of `content`, in one go. */
export async function makeForeign(
  path: string,
  format: ForeignFormat,
  content: Buffer,
  options: Options = {},
): Promise<void> {
  await writeFile(`${path}.content`, content)
  const list = Object.entries(options).flatMap(([key, value]) => ['-o', `${key}=${value}`])
  await runTool('qemu-img', ['convert', '-f', 'raw', '-O', format, ...list, `${path}.content`, path])
  await rm(`${path}.content`)
}

/** The guest's bytes as QEMU reads them. */
export async function contentByQemu(path: string, format: ForeignFormat): Promise<Buffer> {
  const copy = `${path}.by-qemu`
  await runTool('qemu-img', ['convert', '-f', format, '-O', 'raw', path, copy])
  const content = await readFile(copy)
  await rm(copy)
  return content
}

/** Converts to raw into a file, as any caller would. */
export async function toRaw(
  source: ConversionOptions['source'],
  target: string,
  options: Omit<ConversionOptions<'raw'>, 'source' | 'to'>,
): Promise<Buffer> {
  await convert({ source, to: 'raw', target, ...options })
  return readFile(target)
}

/** Files in memory that are handed over by name, with account of what was asked for and closed. */
export function memoryCompanions(files: Readonly<Record<string, Buffer>>) {
  const asked: string[] = []
  const closed: string[] = []
  const companions: Companions = {
    async open(name) {
      asked.push(name)
      const bytes = files[name]
      return bytes && { ...memorySource(bytes, name), close: async () => void closed.push(name) }
    },
  }
  return { companions, asked, closed }
}

export async function extentsOf(image: DiskImage, start?: number, end?: number): Promise<ExtentInfo[]> {
  const found: ExtentInfo[] = []
  for await (const rows of image.extents(start, end)) found.push(...describeExtents(rows))
  return found
}
