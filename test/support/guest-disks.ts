import { execFileSync } from 'node:child_process'
import { truncateSync, writeFileSync } from 'node:fs'
import { MiB } from '../../src/bytes/units.ts'
import { runTool } from './tools.ts'

/** An empty disk, divided by sfdisk as the script says. */
export function makePartitioned(path: string, size: number, script: string): void {
  writeFileSync(path, '')
  truncateSync(path, size)
  execFileSync('sfdisk', ['--quiet', path], { input: script })
}

interface SfdiskPartition {
  readonly node: string
  readonly start: number
  readonly size: number
  readonly type: string
  readonly name?: string
}

/** The same disk as sfdisk reads it: offsets and lengths in bytes. */
export async function partitionsBySfdisk(path: string) {
  const { partitiontable } = JSON.parse((await runTool('sfdisk', ['--json', path])).stdout) as {
    partitiontable: { label: string; sectorsize: number; partitions: SfdiskPartition[] }
  }
  const { label, sectorsize, partitions } = partitiontable
  return {
    scheme: label === 'dos' ? 'mbr' : label,
    partitions: partitions.map(({ node, start, size, name }) => ({
      number: Number(node.slice(path.length)),
      offset: start * sectorsize,
      length: size * sectorsize,
      ...(name !== undefined && { name }),
    })),
  }
}

/** Programs that make a file system, or what stands in its place, with a label where it has one. */
export const FILE_SYSTEMS: Readonly<Record<string, readonly [size: number, tool: string, ...args: string[]]>> = {
  ext2: [8 * MiB, 'mke2fs', '-q', '-t', 'ext2', '-L', 'my ext2'],
  ext3: [8 * MiB, 'mke2fs', '-q', '-t', 'ext3'],
  ext4: [8 * MiB, 'mke2fs', '-q', '-t', 'ext4', '-L', 'wurzel 1'],
  xfs: [300 * MiB, 'mkfs.xfs', '-q', '-L', 'daten'],
  btrfs: [110 * MiB, 'mkfs.btrfs', '-q', '-L', 'schicht'],
  ntfs: [8 * MiB, 'mkntfs', '-q', '-F', '-f', '-L', 'Windows'],
  fat12: [2 * MiB, 'mkfs.vfat', '-F', '12', '-n', 'KLEIN'],
  fat16: [16 * MiB, 'mkfs.vfat', '-F', '16'],
  fat32: [40 * MiB, 'mkfs.vfat', '-F', '32', '-n', 'EFI'],
  swap: [8 * MiB, 'mkswap', '-q', '-L', 'auslager'],
}

/** What blkid says is in a file. It finds the label of an NTFS too, which is not looked for here. */
export async function fileSystemByBlkid(path: string): Promise<{ type: string; label?: string }> {
  const { stdout } = await runTool('blkid', ['-p', '-o', 'export', path])
  const value = (name: string) => new RegExp(`^${name}=(.*)$`, 'm').exec(stdout)?.[1]?.replace(/\\(.)/g, '$1')
  const label = value('LABEL')
  return { type: value('TYPE') ?? 'nothing', ...(label !== undefined && { label }) }
}
