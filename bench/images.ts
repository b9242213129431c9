import { execFileSync } from 'node:child_process'
import { randomFillSync } from 'node:crypto'
import { copyFileSync, existsSync, openSync, readSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { inspect } from 'diskferry'

/**
 * The same guest content in the containers that people bring; `large` is ten times the disk, `much` a workstation with
 * several times the data.
 */
export type Variant = 'qcow2' | 'raw' | 'vhd' | 'vmdk' | 'zlib' | 'zstd' | 'large' | 'much'

export interface BenchImage {
  readonly name: string
  readonly file: string
  /** As qemu-img calls it. */
  readonly format: string
  readonly virtualSize: number
  readonly storedSize: number
}

/** Raw disks with the guest content that variants are made from. */
interface Contents {
  readonly name: string
  readonly usual: string
  readonly much: string
}

function made(name: string): string {
  const file = fileURLToPath(new URL(`../.cache/bench/${name}.raw`, import.meta.url))
  if (!existsSync(file)) throw new Error(`there is no ${name}.raw yet: npm run bench:image`)
  return file
}

/** Makes one variant of the content after the other, in a folder of its own, once each. */
export class BenchImages {
  readonly #contents: Contents
  readonly #folder: string
  readonly #made = new Map<Variant, BenchImage>()

  constructor(contents: Contents, folder: string) {
    this.#contents = contents
    this.#folder = folder
  }

  /** Root file systems of Debian on disks of 8 GiB: of a small server, and of a workstation. */
  static debian(folder: string): BenchImages {
    return new BenchImages({ name: 'debian', usual: made('server'), much: made('workstation') }, folder)
  }

  /** To see that everything runs: 96 MiB of noise in runs of 3 MiB, on a disk of 256 MiB. */
  static small(folder: string): BenchImages {
    const raw = join(folder, 'small.raw')
    const disk = Buffer.alloc(256 * 2 ** 20)
    for (let at = 0; at < disk.length; at += 8 * 2 ** 20) randomFillSync(disk, at, 3 * 2 ** 20)
    writeFileSync(raw, disk)
    return new BenchImages({ name: 'small', usual: raw, much: raw }, folder)
  }

  async get(variant: Variant): Promise<BenchImage> {
    const known = this.#made.get(variant)
    if (known !== undefined) return known
    const image = await this.#describe(variant, await this.#make(variant))
    this.#made.set(variant, image)
    return image
  }

  async #make(variant: Variant): Promise<string> {
    const file = join(this.#folder, `source-${variant}`)
    if (variant === 'large') {
      const { file: qcow2, virtualSize } = await this.get('qcow2')
      copyFileSync(qcow2, file)
      execFileSync('qemu-img', ['resize', '-q', '-f', 'qcow2', file, String(virtualSize * 10)])
    } else {
      const { usual, much } = this.#contents
      const raw = variant === 'much' ? much : usual
      execFileSync('qemu-img', ['convert', '-f', 'raw', ...CONVERSIONS[variant], raw, file])
    }
    return file
  }

  async #describe(variant: Variant, file: string): Promise<BenchImage> {
    const { virtualSize } = await inspect(file, variant === 'raw' ? { from: 'raw' } : {})
    const format = FORMATS[variant] ?? 'qcow2'
    return {
      name: `${this.#contents.name}, ${variant}`,
      file,
      format,
      virtualSize,
      storedSize: statSync(file).blocks * 512,
    }
  }
}

const COMPRESSED = ['-c', '-m', '16', '-W', '-O', 'qcow2']
const CONVERSIONS: Readonly<Record<Exclude<Variant, 'large'>, readonly string[]>> = {
  raw: ['-O', 'raw'],
  qcow2: ['-O', 'qcow2'],
  much: ['-O', 'qcow2'],
  vhd: ['-O', 'vpc'],
  vmdk: ['-O', 'vmdk'],
  zlib: COMPRESSED,
  zstd: [...COMPRESSED, '-o', 'compression_type=zstd'],
}
const FORMATS: Partial<Readonly<Record<Variant, string>>> = { raw: 'raw', vhd: 'vpc', vmdk: 'vmdk' }

/** Reads a file once, so that the first program to read it does not wait for the disk. */
export function warm({ file }: BenchImage): void {
  const buffer = Buffer.alloc(4 * 2 ** 20)
  const fd = openSync(file, 'r')
  while (readSync(fd, buffer) > 0);
}
