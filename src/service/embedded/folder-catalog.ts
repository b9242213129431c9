import { readdir, readFile, realpath, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { z } from 'zod'
import { DiskferryError } from '../../bytes/errors.ts'
import type { FormatName } from '../../formats/format.ts'
import { formatNamed } from '../../formats/registry.ts'
import { isPlainName } from '../../io/companions.ts'
import type { ImageRecord } from '../../rules/image-record.ts'
import type { CatalogSource, ImageCatalog } from '../seams.ts'

const recordSchema = z.looseObject({
  id: z.string(),
  name: z.string(),
  file: z.string().refine(isPlainName, 'the name of a file beside the record'),
  format: z.string().optional(),
})

type FileRecord = z.output<typeof recordSchema>

const SUFFIX = '.json'
const ID = /^[A-Za-z0-9_-]{1,64}$/

/**
 * Images in one folder: `<id>.json` is a record, whose `file` names the image beside it and whose `format`, when given,
 * is believed. An image is that one file: it may not read another one of the folder, which may be somebody else's.
 */
export function folderCatalog(folder: string): ImageCatalog {
  return {
    async find(imageId) {
      const record = await readRecord(folder, imageId)
      return record === undefined ? undefined : measured(folder, record)
    },
    async *list() {
      for (const name of (await readdir(folder)).filter((entry) => entry.endsWith(SUFFIX)).sort()) {
        const record = await readRecord(folder, name.slice(0, -SUFFIX.length))
        if (record !== undefined) yield await measured(folder, record)
      }
    },
    async source(imageId): Promise<CatalogSource> {
      const record = await readRecord(folder, imageId)
      if (record === undefined) throw new DiskferryError('source-unreadable', `there is no image ${imageId}`)
      const { format, file } = record
      return {
        source: await insideOf(folder, file),
        companions: { open: async () => undefined },
        ...(format !== undefined && { from: formatNamed(format).name as FormatName }),
      }
    },
  }
}

async function readRecord(folder: string, id: string): Promise<FileRecord | undefined> {
  if (!ID.test(id)) return undefined
  const path = join(folder, `${id}${SUFFIX}`)
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw new DiskferryError('source-unreadable', `can't read ${path}: ${error.code}`, { cause: error })
  })
  return text === undefined ? undefined : parseRecord(path, id, text)
}

function parseRecord(path: string, id: string, text: string): FileRecord {
  try {
    const record = recordSchema.parse(JSON.parse(text))
    if (record.id === id) return record
    throw new Error(`its id is ${record.id}`)
  } catch (cause) {
    const why = cause instanceof z.ZodError ? z.prettifyError(cause) : (cause as Error).message
    throw new DiskferryError('malformed', `${path} is no record of the image ${id}: ${why}`, { cause })
  }
}

/** The file's own size counts, whatever the record says; a file that is gone has none, which the rules refuse. */
async function measured(folder: string, { file, format: _, ...attributes }: FileRecord): Promise<ImageRecord> {
  const size = await stat(join(folder, file)).then(
    (found) => (found.isFile() ? found.size : undefined),
    () => undefined,
  )
  return { ...attributes, __image_size: size }
}

/** A link that leads out of the folder is not followed. */
async function insideOf(folder: string, file: string): Promise<string> {
  const path = await realpath(join(folder, file)).catch((cause: NodeJS.ErrnoException) => {
    throw new DiskferryError('source-unreadable', `the image's file is not there: ${cause.code}`, { cause })
  })
  if (dirname(path) === (await realpath(folder))) return path
  throw new DiskferryError('source-unreadable', 'the image’s file lies outside the folder of images')
}
