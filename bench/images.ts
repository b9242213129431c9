import { execFileSync } from 'node:child_process'
import { randomFillSync } from 'node:crypto'
import { copyFileSync, existsSync, openSync, readSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { inspect } from 'diskferry'

export interface BenchImage {
  readonly name: string
  readonly file: string
  readonly virtualSize: number
  readonly storedSize: number
}

const DEBIAN = fileURLToPath(new URL('../.cache/bench/debian.raw.qcow2', import.meta.url))

/** A Debian root file system on an 8 GiB disk. */
export async function debianImage(): Promise<BenchImage> {
  if (!existsSync(DEBIAN)) throw new Error('there is no image yet: npm run bench:image')
  return describe('debian', DEBIAN)
}

/** For a quick look: 96 MiB of noise in runs of 3 MiB, on a disk of 256 MiB. */
export async function quickImage(folder: string): Promise<BenchImage> {
  const raw = join(folder, 'quick.raw')
  const disk = Buffer.alloc(256 * 2 ** 20)
  for (let at = 0; at < disk.length; at += 8 * 2 ** 20) randomFillSync(disk, at, 3 * 2 ** 20)
  writeFileSync(raw, disk)
  const file = join(folder, 'quick.qcow2')
  execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, file])
  return describe('quick', file)
}

/** The same data on a disk ten times as large: what is left is empty. */
export async function tenfold({ name, file, virtualSize }: BenchImage, folder: string): Promise<BenchImage> {
  const larger = join(folder, 'tenfold.qcow2')
  copyFileSync(file, larger)
  execFileSync('qemu-img', ['resize', '-q', '-f', 'qcow2', larger, String(virtualSize * 10)])
  return describe(`${name}, tenfold`, larger)
}

/** Reads a file once, so that the first program to read it does not wait for the disk. */
export function warm({ file }: BenchImage): void {
  const buffer = Buffer.alloc(4 * 2 ** 20)
  const fd = openSync(file, 'r')
  while (readSync(fd, buffer) > 0);
}

async function describe(name: string, file: string): Promise<BenchImage> {
  const { virtualSize } = await inspect(file)
  return { name, file, virtualSize, storedSize: statSync(file).size }
}
