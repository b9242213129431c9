import { Argument, type Command } from 'commander'
import { abortUpload, clientFromEnvironment, DiskferryError, listUploads, type OpenUpload } from '../index.ts'
import { printable, printJson, printResult } from './output.ts'
import { objectAt } from './places.ts'

const EXAMPLES = `
Examples:
  diskferry uploads ls s3://exports
  diskferry uploads abort s3://exports/disk.vhd`

const ACTIONS = ['ls', 'abort'] as const

export function addUploadsCommand(program: Command): void {
  program
    .command('uploads')
    .summary('show or remove unfinished uploads')
    .description(
      'Shows what interrupted uploads have left in a bucket (ls), or removes it (abort): all keys that begin with the given ' +
        'prefix, or exactly the given key for abort.',
    )
    .addArgument(new Argument('<action>', 'what to do').choices(ACTIONS))
    .argument('<place>', 's3://bucket, s3://bucket/prefix; for abort: s3://bucket/key or bucket:key')
    .option('--json', 'print one JSON array')
    .addHelpText('after', EXAMPLES)
    .action(runUploads)
}

async function runUploads(action: string, place: string, { json = false }: { json?: boolean }): Promise<void> {
  const { bucket, prefix } = readPlace(place)
  if (action === 'abort' && prefix === '') {
    throw new DiskferryError('usage', `${place} is no key`, { found: place, expected: 's3://bucket/key' })
  }
  const client = await clientFromEnvironment()
  try {
    const found = await listUploads(client, bucket, prefix)
    const meant = action === 'abort' ? found.filter(({ key }) => key === prefix) : found
    if (action === 'abort') for (const upload of meant) await abortUpload(client, bucket, upload)
    print(meant, bucket, json)
  } finally {
    client.destroy()
  }
}

function print(uploads: readonly OpenUpload[], bucket: string, json: boolean): void {
  if (json) printJson(uploads)
  else for (const upload of uploads) printUpload(upload, bucket)
}

function printUpload({ key, uploadId, initiated }: OpenUpload, bucket: string): void {
  printResult(`${initiated?.toISOString() ?? '-'}  s3://${printable(`${bucket}/${key}`)}  ${printable(uploadId)}`)
}

function readPlace(place: string): { bucket: string; prefix: string } {
  const [, bucket, prefix = ''] = /^s3:\/\/([^/]+)(?:\/(.*))?$/.exec(place) ?? []
  if (bucket !== undefined) return { bucket, prefix }
  const object = objectAt(place)
  if (object !== undefined) return { bucket: object.bucket, prefix: object.key }
  throw new DiskferryError('usage', `${place} is no place in S3`, { found: place, expected: 's3://bucket/prefix' })
}
