import { lstatSync } from 'node:fs'
import {
  type ConvertSource,
  clientFromEnvironment,
  folderCompanions,
  httpSource,
  httpStream,
  isHttpAddress,
  isS3Address,
  parseS3Address,
  type S3Address,
  type Source,
  type SourceInput,
  s3Source,
  sequentialSource,
} from '../index.ts'
import { isWithoutRanges } from '../io/remote/answer.ts'
import { isShortS3Address } from '../io/s3/address.ts'

/** What the command line says of every image that it reads. */
export const SOURCE_HELP = 'path of the image, s3://bucket/key or bucket:key, or a URL (http, https)'

/** An image's place, opened where that takes a network; whoever opened it closes it. */
export interface OpenedPlace<S = SourceInput> {
  readonly source: S
  close(): Promise<void>
}

/**
 * The object that is meant, by `s3://bucket/key` or the export API's `bucket:key`. As with scp, the latter has no slash
 * before its colon, so `./bucket:key` is a path; and so is whatever is there under that name.
 */
export function objectAt(place: string): S3Address | undefined {
  const isShort = isShortS3Address(place) && lstatSync(place, { throwIfNoEntry: false }) === undefined
  return isShort || isS3Address(place) ? parseS3Address(place) : undefined
}

/** Takes a path for a path: only a URL or the address of an object is anything else. */
export async function openPlace(place: string, signal?: AbortSignal): Promise<OpenedPlace> {
  if (isHttpAddress(place)) return opened(await httpSource(place, { signal }))
  const object = objectAt(place)
  if (object !== undefined) {
    const client = await clientFromEnvironment()
    const close = async () => client.destroy()
    return opened(
      await s3Source({ client, ...object, signal }).catch(async (error) => {
        await close()
        throw error
      }),
      close,
    )
  }
  return { source: place, close: async () => undefined }
}

/** What can be converted: any place, standard input, and what a web server gives only front to back. */
export async function openConvertPlace(place: string, signal?: AbortSignal): Promise<OpenedPlace<ConvertSource>> {
  if (place !== '-') {
    return openPlace(place, signal).catch(async (error) => {
      if (!isWithoutRanges(error) || !isHttpAddress(place)) throw error
      const source = await httpStream(place, { signal })
      return { source, close: async () => source.close?.() }
    })
  }
  return { source: sequentialSource(process.stdin, { name: 'standard input' }), close: async () => undefined }
}

function opened(source: Source, close?: () => Promise<void>): OpenedPlace {
  return {
    source,
    async close() {
      await source.close?.()
      await close?.()
    },
  }
}

/** The folder whose files an image may have as its parents. */
export function backingFolder(folder: string | undefined): ReturnType<typeof folderCompanions> | undefined {
  return folder === undefined ? undefined : folderCompanions(folder)
}
