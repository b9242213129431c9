import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import type { ServiceJob } from './service.ts'

/** What a whole process took, with all that it started and waited for. */
export interface Measurement {
  readonly seconds: number
  readonly cpuSeconds: number
  /** Most memory that any one of the processes had resident, bytes. */
  readonly peakBytes: number
}

/** A way to do the same work. */
export interface Program {
  readonly name: string
  run(): Promise<Measurement>
  /** Removes what a run has made. Not measured. */
  cleanUp(): Promise<void>
  /** After the last run. */
  stop?(): Promise<void>
}

const WAIT4 = fileURLToPath(new URL('wait4.py', import.meta.url))

/** Runs a command to its end. One that fails fails the benchmark. */
export async function runCommand(
  command: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Measurement> {
  const child = spawn('/usr/bin/python3', [WAIT4, '3', ...command], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
  })
  const said = text(child.stderr as NodeJS.ReadableStream)
  const report = text(child.stdio[3] as NodeJS.ReadableStream)
  await once(child, 'close')
  const { code, ...measurement } = JSON.parse((await report) || '{ "code": "nothing" }')
  if (code !== 0) throw new Error(`this ended with ${code}: ${command.join(' ')}\n${await said}`)
  return measurement
}

const LOADER = fileURLToPath(new URL('../scripts/typescript.mjs', import.meta.url))
const SERVICE = fileURLToPath(new URL('service.ts', import.meta.url))

/** A service that does one job over and over, beginning with its first run. */
export function inService(job: ServiceJob, env: Readonly<Record<string, string>> = {}): Pick<Program, 'run' | 'stop'> {
  let service: ReturnType<typeof start> | undefined
  const start = () => {
    const child = spawn(process.execPath, ['--import', LOADER, SERVICE], {
      env: { ...process.env, ...env },
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    return { child, answers: createInterface(child.stdout)[Symbol.asyncIterator]() }
  }
  return {
    async run() {
      service ??= start()
      service.child.stdin.write(`${JSON.stringify(job)}\n`)
      const { value, done } = await service.answers.next()
      if (done) throw new Error(`the service ended: ${JSON.stringify(job)}`)
      return JSON.parse(value) as Measurement
    },
    async stop() {
      if (service === undefined) return
      service.child.stdin.end()
      await once(service.child, 'close')
    },
  }
}

/**
 * Runs the programs by turns, so that whatever else the machine does falls on all of them: each round in the order
 * opposite to that of the one before. The first round only warms up and does not count.
 */
export async function runByTurns(programs: readonly Program[], rounds: number): Promise<Map<string, Measurement[]>> {
  const runs = new Map<string, Measurement[]>(programs.map(({ name }) => [name, []]))
  try {
    for (let round = 0; round <= rounds; round++) {
      for (const program of round % 2 === 0 ? programs : programs.toReversed()) {
        const measurement = await program.run()
        if (round > 0) runs.get(program.name)?.push(measurement)
        await program.cleanUp()
      }
    }
    return runs
  } finally {
    for (const program of programs) await program.stop?.()
  }
}

export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
}

export function spreadOf(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length / 2
  const median = ((sorted[Math.floor(middle)] as number) + (sorted[Math.ceil(middle) - 1] as number)) / 2
  return { median, min: sorted[0] as number, max: sorted.at(-1) as number }
}
