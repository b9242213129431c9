import { readFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { z } from 'zod'
import { DiskferryError } from '../../bytes/errors.ts'
import { policyFrom } from '../../rules/check-export.ts'
import { defaultPolicy, type Policy } from '../../rules/policy.ts'
import { limitsSchema } from '../limits.ts'
import { addressSchema } from './listen.ts'

const whole = z.coerce.number().int()

/** What `diskferry serve` is told, by a file or by the environment. */
export const configSchema = z.strictObject({
  host: z.string().default('127.0.0.1').describe('Address to listen on.'),
  port: whole.min(0).max(65_535).default(8080).describe('Port to listen on; 0 for any.'),
  images: z.string().default('images').describe('Folder of images and their records.'),
  tokens: z.string().default('tokens.json').describe('File of tokens, hashed.'),
  policy: z.string().optional().describe('File of the policy; without it, the defaults.'),
  journal: z.string().default('jobs.jsonl').describe('File that jobs are kept in.'),
  buckets: z.record(z.string(), z.array(z.string())).optional().describe('Projects that may write, by bucket.'),
  redis: z.string().optional().describe('Redis that a fleet’s jobs are kept in, instead of the journal.'),
  concurrency: whole.min(0).default(2).describe('Exports that run at once in this process; 0 only beside workers.'),
  mostUnfinished: whole.min(1).default(1000).describe('Exports that may wait and run.'),
  workerListen: addressSchema.optional().describe('Where a worker answers health and metrics, as host:port.'),
  threads: whole.min(0).optional().describe('Worker threads, shared by all exports.'),
  lockSeconds: z.coerce.number().min(1).default(30).describe('A worker of the fleet that is silent so long is lost.'),
  shares: z.record(z.string(), z.number().min(1).max(8)).default({}).describe('Turns of a project for one of others.'),
  graceSeconds: z.coerce.number().min(0).default(30).describe('Time for exports to end when the service is stopped.'),
  logLevel: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info'),
  limits: limitsSchema.prefault({}),
})

export type Config = z.output<typeof configSchema>

const STRUCTURED: ReadonlySet<string> = new Set(['buckets', 'limits', 'shares'])

/** Fields that the environment may give, each as DISKFERRY_ and its name: `DISKFERRY_MOST_UNFINISHED`. */
const FROM_ENVIRONMENT = Object.keys(configSchema.shape).filter((name) => !STRUCTURED.has(name))
const variableOf = (name: string) => `DISKFERRY_${name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`

/** Fields that name files. */
const PATHS = ['images', 'tokens', 'policy', 'journal'] as const

/**
 * Reads the configuration: the environment goes before the file, and the file before the defaults.
 * @throws DiskferryError `usage` that names every field that is wrong
 */
export async function readConfig(file: string | undefined, environment: NodeJS.ProcessEnv): Promise<Config> {
  const given = FROM_ENVIRONMENT.flatMap((name) => {
    const value = environment[variableOf(name)]
    return value === undefined ? [] : [[name, value] as const]
  })
  const stated = file === undefined ? {} : await readJson(file, 'configuration')
  const read = configSchema.safeParse(given.length === 0 ? stated : { ...Object(stated), ...Object.fromEntries(given) })
  if (!read.success) throw new DiskferryError('usage', `the configuration is wrong: ${z.prettifyError(read.error)}`)
  const named = new Set(given.map(([name]) => name))
  return file === undefined ? read.data : besideFile(dirname(resolve(file)), read.data, named)
}

/** The policy that a configuration names. */
export async function policyOf({ policy }: Config): Promise<Policy> {
  return policy === undefined ? defaultPolicy : policyFrom(await readJson(policy, 'policy'))
}

/** What the environment names is relative to the working folder, all else to the configuration's. */
function besideFile(folder: string, config: Config, fromEnvironment: ReadonlySet<string>): Config {
  const paths = PATHS.flatMap((name) => {
    const path = config[name]
    return path === undefined || fromEnvironment.has(name) ? [] : [[name, resolve(folder, path)]]
  })
  return { ...config, ...Object.fromEntries(paths) }
}

async function readJson(path: string, what: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, 'utf8'))
  } catch (cause) {
    throw new DiskferryError('usage', `the ${what} ${path} can't be read: ${(cause as Error).message}`, { cause })
  }
}
