import { fileURLToPath } from 'node:url'

/* The commands that do the same work: ours, and other people's. */

const CLI = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url))
const UPLOAD = fileURLToPath(new URL('upload-file.mjs', import.meta.url))

/** As many requests at once as qemu-img can have, written in whatever order they end: its fastest. */
export const QEMU_FAST = ['-m', '16', '-W']
/** zlib in C on one core: what a block format's compression costs without anything else. */
export const PIGZ_LEVEL_1 = 'pigz -p 1 -1 -c'

const QEMU_NAMES: Readonly<Record<string, string>> = { vhd: 'vpc' }

export function diskferry(source: string, target: string, to: string, flags: readonly string[] = []): string[] {
  return [process.execPath, CLI, 'convert', source, target, '--to', to, '--quiet', ...flags]
}

export function qemuImg(source: string, target: string, to: string, flags: readonly string[] = []): string[] {
  const named = flags.map((flag) => QEMU_NAMES[flag] ?? flag)
  return ['qemu-img', 'convert', ...named, '-O', QEMU_NAMES[to] ?? to, source, target]
}

export function awsCopy(file: string, bucket: string, key: string): string[] {
  return ['aws', 's3', 'cp', '--quiet', file, `s3://${bucket}/${key}`]
}

export function awsFetch(bucket: string, key: string, file: string): string[] {
  return ['aws', 's3', 'cp', '--quiet', `s3://${bucket}/${key}`, file]
}

export function sdkUpload(file: string, bucket: string, key: string): string[] {
  return [process.execPath, UPLOAD, file, bucket, key]
}

/** One command after the other, as a user would write it. */
export function inTurn(...commands: readonly (readonly string[])[]): string[] {
  return ['/bin/sh', '-c', commands.map(quoted).join(' && ')]
}

function quoted(command: readonly string[]): string {
  return command.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ')
}
