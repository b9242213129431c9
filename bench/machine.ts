import { execFileSync } from 'node:child_process'
import { cpus, totalmem } from 'node:os'
import { crc32cBackend } from 'diskferry'

/** On what the figures were taken. Nothing here names a machine. */
export function describeMachine() {
  const [cpu] = cpus()
  return {
    cpu: cpu?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryBytes: totalmem(),
    system: `${process.platform} ${process.arch}`,
  }
}

export function describeVersions() {
  return {
    node: process.version,
    qemuImg: firstLine('qemu-img', ['--version']).replace(/^qemu-img version /, ''),
    commit: firstLine('git', ['describe', '--always', '--dirty', '--abbrev=12', '--exclude=*']),
    crc32c: crc32cBackend,
  }
}

/** `linux-x64-2-cores`, for file names. */
export function hostKind(): string {
  return `${process.platform}-${process.arch}-${cpus().length}-cores`
}

function firstLine(command: string, args: readonly string[]): string {
  try {
    return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).split(
      '\n',
    )[0] as string
  } catch {
    return 'unknown'
  }
}
