import { mkdtemp, readdir, rmdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { type S3Server, startAnyS3, startS3rver, startSwift } from './s3-server.ts'

const Bucket = 'servers'
const MIB = 1024 * 1024

// The check value that every description of CRC-32C gives: no implementation of ours is needed here.
const NINE = Buffer.from('123456789')
const RIGHT = base64(0xe3069283)
const WRONG = base64(0x12345678)

const parts = [1, 2, 3].map((n) => Buffer.alloc(n < 3 ? 5 * MIB : 1234, `part ${n} `))
const whole = Buffer.concat(parts)

const swifts = [
  { release: '2.35', name: /^swift 2\.35$/, checksums: true },
  { release: 'stock', name: /^swift 2\.30$/, checksums: false },
] as const

for (const { release, name, checksums } of swifts) {
  describe(`Swift ${release}`, () => {
    let server: S3Server
    let s3: S3Client

    beforeAll(async () => {
      server = await startSwift({ release })
      s3 = clientOf(server)
      await s3.send(new CreateBucketCommand({ Bucket }))
    })
    afterAll(async () => {
      s3.destroy()
      await server.stop()
    })

    it('says which release answers', () => {
      expect(server.name).toMatch(name)
    })

    it('takes an object with the right CRC32C, and does not give the checksum back', async () => {
      await s3.send(new PutObjectCommand({ Bucket, Key: 'nine', Body: NINE, ChecksumCRC32C: RIGHT }))
      expect(await fetched(s3, 'nine')).toEqual(NINE)
      const head = await s3.send(new HeadObjectCommand({ Bucket, Key: 'nine', ChecksumMode: 'ENABLED' }))
      expect(head.ChecksumCRC32C).toBeUndefined()
    })

    it(`${checksums ? 'refuses' : 'does not see'} a wrong CRC32C of an object`, async () => {
      const put = s3.send(new PutObjectCommand({ Bucket, Key: 'wrong', Body: NINE, ChecksumCRC32C: WRONG }))
      if (checksums) await expect(put).rejects.toMatchObject({ name: 'BadDigest' })
      else await expect(put).resolves.toBeDefined()
    })

    it(`${checksums ? 'refuses' : 'does not see'} a wrong CRC32C of a part`, async () => {
      const upload = await created(s3, 'wrong-part')
      const put = s3.send(new UploadPartCommand({ ...upload, PartNumber: 1, Body: NINE, ChecksumCRC32C: WRONG }))
      if (checksums) await expect(put).rejects.toMatchObject({ name: 'BadDigest' })
      else await expect(put).resolves.toBeDefined()
      await s3.send(new AbortMultipartUploadCommand(upload))
    })

    it(`${checksums ? 'takes' : 'refuses'} a completion that names its parts' CRC32C`, async () => {
      const upload = await created(s3, 'complete')
      const { ETag } = await s3.send(
        new UploadPartCommand({ ...upload, PartNumber: 1, Body: NINE, ChecksumCRC32C: RIGHT }),
      )
      const complete = (part: { ChecksumCRC32C?: string }) =>
        s3.send(
          new CompleteMultipartUploadCommand({
            ...upload,
            MultipartUpload: { Parts: [{ PartNumber: 1, ETag, ...part }] },
          }),
        )
      if (!checksums) {
        await expect(complete({ ChecksumCRC32C: RIGHT })).rejects.toMatchObject({ name: 'MalformedXML' })
        await complete({})
      } else {
        expect(await complete({ ChecksumCRC32C: RIGHT })).not.toHaveProperty('ChecksumCRC32C')
      }
      expect(await fetched(s3, 'complete')).toEqual(NINE)
    })

    it('takes a stream in three parts and leaves no upload open', async () => {
      await uploaded(s3, 'three', parts)
      expect(await openUploads(s3)).toEqual([])
      expect((await fetched(s3, 'three')).equals(whole)).toBe(true)
    })

    it('forgets an upload that is aborted', async () => {
      const upload = await created(s3, 'aborted')
      await s3.send(new UploadPartCommand({ ...upload, PartNumber: 1, Body: NINE }))
      expect(await openUploads(s3)).toEqual(['aborted'])
      await s3.send(new AbortMultipartUploadCommand(upload))
      expect(await openUploads(s3)).toEqual([])
    })

    it('takes a body that lies in shared memory', async () => {
      const shared = Buffer.from(new SharedArrayBuffer(5 * MIB))
      parts[0]!.copy(shared)
      await s3.send(new PutObjectCommand({ Bucket, Key: 'shared', Body: shared }))
      expect((await fetched(s3, 'shared')).equals(parts[0]!)).toBe(true)
    })
  })
}

describe('s3rver', () => {
  it('takes a stream in three parts', async () => {
    const server = await startS3rver()
    const s3 = clientOf(server)
    await s3.send(new CreateBucketCommand({ Bucket }))
    await uploaded(s3, 'three', parts)
    expect((await fetched(s3, 'three')).equals(whole)).toBe(true)
    s3.destroy()
    await server.stop()
  })
})

describe('every server', () => {
  for (const start of [startSwift, startS3rver, startAnyS3]) {
    it(`from ${start.name} is gone, with its data, when it is stopped`, async () => {
      const folder = await mkdtemp(join(tmpdir(), 'servers-test-'))
      vi.stubEnv('TMPDIR', folder)
      const server = await start().finally(() => vi.unstubAllEnvs())
      expect((await fetch(server.endpoint)).status).toBeLessThan(500)
      expect(await readdir(folder)).toHaveLength(1)
      await server.stop()
      await server.stop()
      await expect(fetch(server.endpoint)).rejects.toThrow()
      expect(await readdir(folder)).toEqual([])
      await rmdir(folder)
    })
  }
})

function clientOf({ endpoint, region, credentials }: S3Server): S3Client {
  return new S3Client({
    endpoint,
    region,
    credentials,
    forcePathStyle: true,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  })
}

async function created(s3: S3Client, Key: string): Promise<{ Bucket: string; Key: string; UploadId: string }> {
  const options = { Bucket, Key, ChecksumAlgorithm: 'CRC32C', ChecksumType: 'FULL_OBJECT' } as const
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand(options))
  return { Bucket, Key, UploadId: UploadId! }
}

async function uploaded(client: S3Client, Key: string, chunks: Buffer[]): Promise<void> {
  await new Upload({ client, params: { Bucket, Key, Body: Readable.from(chunks) }, partSize: 5 * MIB }).done()
}

async function fetched(s3: S3Client, Key: string): Promise<Buffer> {
  const { Body } = await s3.send(new GetObjectCommand({ Bucket, Key }))
  return Buffer.from(await Body!.transformToByteArray())
}

async function openUploads(s3: S3Client): Promise<(string | undefined)[]> {
  const { Uploads = [] } = await s3.send(new ListMultipartUploadsCommand({ Bucket }))
  return Uploads.map((upload) => upload.Key)
}

function base64(crc: number): string {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(crc)
  return bytes.toString('base64')
}
