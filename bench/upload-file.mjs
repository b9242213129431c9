// The peer's second half: a file, uploaded as the SDK does it by itself. usage: upload-file.mjs FILE BUCKET KEY
import { createReadStream } from 'node:fs'
import { S3Client } from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'

const [file, Bucket, Key] = process.argv.slice(2)
const client = new S3Client({ forcePathStyle: true })
await new Upload({ client, params: { Bucket, Key, Body: createReadStream(file) } }).done()
client.destroy()
