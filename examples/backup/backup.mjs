// node backup.mjs FOLDER s3://bucket/prefix: every disk of a folder into a bucket, compressed. Started again, it goes on
// where it was: what the bucket has of the same disk is left out. Ends with 1 when any of them failed.
import { createHash } from 'node:crypto'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { HeadObjectCommand } from '@aws-sdk/client-s3'
import { convert, createPool, isDiskferryError } from 'diskferry'
import { clientFromEnvironment, parseS3Address, s3Target } from 'diskferry/s3'

const [folder, address] = process.argv.slice(2)
const { bucket, key: prefix } = parseS3Address(address)
const client = await clientFromEnvironment()
const pool = createPool()
let failed = 0

for (const name of (await readdir(folder)).sort()) {
  const source = join(folder, name)
  const key = `${prefix}/${name}.vmdk`
  try {
    const version = await versionOf(source)
    if ((await versionInBucket(key)) === version) {
      console.log(`${name}: is there`)
      continue
    }
    const target = s3Target({ client, bucket, key, overwrite: true, parameters: { Metadata: { version } } })
    const { bytesWritten, crc32c } = await convert({ source, to: 'vmdk', target, pool })
    console.log(`${name}: ${bytesWritten} bytes, CRC-32C ${crc32c}`)
  } catch (error) {
    if (!isDiskferryError(error)) throw error
    failed += 1
    console.error(`${name}: ${error.message}${error.hint ? ` (${error.hint})` : ''}`)
  }
}

await pool.close()
client.destroy()
if (failed > 0) process.exitCode = 1

/** Stands for a file's content as long as nobody sets its time back. */
async function versionOf(path) {
  const { size, mtimeMs } = await stat(path)
  return createHash('sha256').update(`${size} ${mtimeMs}`).digest('hex')
}

async function versionInBucket(Key) {
  try {
    return (await client.send(new HeadObjectCommand({ Bucket: bucket, Key }))).Metadata?.version
  } catch (error) {
    if (error.$metadata?.httpStatusCode === 404) return undefined
    throw error
  }
}
