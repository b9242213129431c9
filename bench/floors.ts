import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readSync, rmSync, writeSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { Worker } from 'node:worker_threads'
import { deflateRawSync } from 'node:zlib'
import type { BenchImage } from './images.ts'
import { runCommand } from './measure.ts'

/* What the machine and Node.js allow at best, whoever converts: the floor under every job. */

const MiB = 2 ** 20
const GiB = 2 ** 30

export async function floors({ file, storedSize }: BenchImage, folder: string) {
  return {
    /** Seconds until Node.js has started and ended. */
    nodeStart: await least(async () => (await runCommand([process.execPath, '-e', '0'])).seconds),
    /** Seconds until an empty worker thread answers. */
    workerStart: await least(workerStart),
    /** Seconds to copy the image's bytes from file to file, through one buffer of 1 MiB, on one thread. */
    copy: await least(() => copy(file, join(folder, 'copied'))),
    gibibytesCopied: storedSize / GiB,
    /** CPU seconds that sending 1 GiB through a loopback socket takes the sender. */
    socketCpuSecondsPerGiB: await least(sendOneGiB),
    /** Megabytes that zlib packs in a second on one core, of the image's own bytes. */
    deflate: { level1: deflateRate(file, 1), level6: deflateRate(file, 6) },
  }
}

/** The least of five: what disturbs only ever makes it longer. */
async function least(measure: () => number | Promise<number>): Promise<number> {
  let found = Number.POSITIVE_INFINITY
  for (let round = 0; round < 5; round++) found = Math.min(found, await measure())
  return found
}

async function workerStart(): Promise<number> {
  const started = performance.now()
  const worker = new Worker("require('node:worker_threads').parentPort.postMessage(0)", { eval: true })
  await once(worker, 'message')
  const seconds = (performance.now() - started) / 1000
  await worker.terminate()
  return seconds
}

function copy(from: string, to: string): number {
  const buffer = Buffer.alloc(MiB)
  const [source, target] = [openSync(from, 'r'), openSync(to, 'w')]
  const started = performance.now()
  for (let at = 0, length = 1; length > 0; at += length) {
    length = readSync(source, buffer, 0, MiB, at)
    writeSync(target, buffer, 0, length, at)
  }
  const seconds = (performance.now() - started) / 1000
  closeSync(source)
  closeSync(target)
  rmSync(to)
  return seconds
}

/** The receiver is a process of its own: its CPU time is not ours. */
const RECEIVER = `
const server = require('node:net').createServer((socket) => socket.resume().on('end', () => process.exit()))
server.listen(0, '127.0.0.1', () => console.log(server.address().port))
`

async function sendOneGiB(): Promise<number> {
  const child = spawn(process.execPath, ['-e', RECEIVER], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [port] = (await once(createInterface(child.stdout), 'line')) as [string]
  const socket = connect(Number(port), '127.0.0.1')
  await once(socket, 'connect')
  const before = process.cpuUsage()
  const chunk = Buffer.alloc(MiB, 7)
  for (let sent = 0; sent < GiB; sent += MiB) if (!socket.write(chunk)) await once(socket, 'drain')
  socket.end()
  await once(child, 'close')
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1e6
}

function deflateRate(file: string, level: number): number {
  const bytes = Buffer.alloc(64 * MiB)
  const fd = openSync(file, 'r')
  const length = readSync(fd, bytes, 0, bytes.length, 128 * MiB)
  closeSync(fd)
  const started = performance.now()
  for (let at = 0; at < length; at += 64 * 1024) deflateRawSync(bytes.subarray(at, at + 64 * 1024), { level })
  return length / 1e6 / ((performance.now() - started) / 1000)
}
