import { runTool } from './tools.ts'

/** Formats by QEMU's names; `vpc` is VHD. */
export type QemuFormat = 'raw' | 'qcow2' | 'vpc' | 'vmdk' | 'qed' | 'qcow' | 'parallels'

/** What `qemu-img check` found. All are 0 in an image that is whole. */
export interface QemuCheck {
  readonly errors: number
  readonly leaks: number
  readonly corruptions: number
}

export interface QemuInfo {
  readonly format: string
  readonly 'virtual-size': number
  readonly 'actual-size': number
  readonly 'dirty-flag': boolean
  readonly 'cluster-size'?: number
}

/** A run of guest bytes, as `qemu-img map` tells it. */
export interface QemuMapEntry {
  readonly start: number
  readonly length: number
  readonly zero: boolean
  readonly data: boolean
  readonly present: boolean
  readonly offset?: number
}

interface CreateOptions {
  readonly options?: Readonly<Record<string, string | number>>
  /** Arguments of `qemu-img create` that have no place in `options`. */
  readonly extra?: readonly string[]
}

/** Makes an empty image. */
export async function createImage(
  path: string,
  format: QemuFormat,
  size: number,
  { options = {}, extra = [] }: CreateOptions = {},
): Promise<void> {
  await runTool('qemu-img', ['create', '-q', ...extra, '-f', format, ...optionList(options), path, String(size)])
}

/**
 * Makes an encrypted qcow2. QEMU measures how fast it derives keys, and gives up when the clock of its thread did not
 * move meanwhile: then it is asked again.
 */
export async function createEncrypted(path: string, format: 'luks' | 'aes', size: number): Promise<void> {
  const extra = ['--object', 'secret,id=key,data=not-secret']
  const options = { 'encrypt.format': format, 'encrypt.key-secret': 'key' }
  for (let left = 20; ; left--) {
    try {
      return await createImage(path, 'qcow2', size, { options, extra })
    } catch (error) {
      if (left === 0 || !String(error).includes('accurate CPU usage')) throw error
    }
  }
}

interface ConvertImageOptions {
  readonly options?: Readonly<Record<string, string | number>>
  readonly compress?: boolean
}

/** QEMU's own conversion. */
export async function convertImage(
  [from, fromFormat]: readonly [path: string, format: QemuFormat],
  [to, toFormat]: readonly [path: string, format: QemuFormat],
  { options = {}, compress = false }: ConvertImageOptions = {},
): Promise<void> {
  const flags = compress ? ['-c'] : []
  const formats = ['-f', fromFormat, '-O', toFormat]
  await runTool('qemu-img', ['convert', ...flags, ...formats, ...optionList(options), from, to])
}

/** What sets two disks apart as the guest sees them, their sizes included, in QEMU's words; undefined when nothing does. */
export async function differenceOf(
  [first, firstFormat]: readonly [path: string, format: QemuFormat],
  [second, secondFormat]: readonly [path: string, format: QemuFormat],
): Promise<string | undefined> {
  const args = ['compare', '-f', firstFormat, '-F', secondFormat, first, second]
  const { code, stdout } = await runTool('qemu-img', args, { answers: [0, 1] })
  return code === 0 && stdout.trim() === 'Images are identical.' ? undefined : stdout.trim()
}

/** Follows every table and counts every reference. */
export async function checkImage(path: string, format: QemuFormat = 'qcow2'): Promise<QemuCheck> {
  const args = ['check', '--output=json', '-f', format, path]
  const { stdout } = await runTool('qemu-img', args, { answers: [0, 2, 3] })
  const report = JSON.parse(stdout) as Record<string, number | undefined>
  return { errors: report['check-errors'] ?? 0, leaks: report.leaks ?? 0, corruptions: report.corruptions ?? 0 }
}

export async function imageInfo(path: string, format: QemuFormat): Promise<QemuInfo> {
  const { stdout } = await runTool('qemu-img', ['info', '--output=json', '-f', format, path])
  return JSON.parse(stdout) as QemuInfo
}

export async function mapImage(path: string, format: QemuFormat): Promise<QemuMapEntry[]> {
  const { stdout } = await runTool('qemu-img', ['map', '--output=json', '-f', format, path])
  return JSON.parse(stdout) as QemuMapEntry[]
}

/** Guest bytes that the image says it holds data for. */
export async function mappedBytes(path: string, format: QemuFormat): Promise<number> {
  const entries = await mapImage(path, format)
  return entries.filter(({ data }) => data).reduce((sum, { length }) => sum + length, 0)
}

export async function takeSnapshot(path: string, name: string): Promise<void> {
  await runTool('qemu-img', ['snapshot', '-c', name, path])
}

/** Runs commands of qemu-io on an image: `write -P 0x41 0 64k`. It ends with 0 even when one fails, so its words count. */
export async function qemuIo(path: string, format: QemuFormat, commands: readonly string[]): Promise<void> {
  const args = ['-f', format, ...commands.flatMap((command) => ['-c', command]), path]
  const { stdout, stderr } = await runTool('qemu-io', args)
  if (/failed|error|invalid|can't|cannot/i.test(stdout + stderr)) {
    throw new Error(`qemu-io ${args.join(' ')}\n${stdout}${stderr}`)
  }
}

function optionList(options: Readonly<Record<string, string | number>>): string[] {
  const pairs = Object.entries(options).map(([key, value]) => `${key}=${value}`)
  return pairs.length === 0 ? [] : ['-o', pairs.join(',')]
}
