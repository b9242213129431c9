import { copyFile, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { goodImage } from './export-cases.ts'

/** Puts an image into a folder of images, with a record that may be exported but for what is given. */
export async function addImage(
  folder: string,
  id: string,
  path: string,
  attributes: Readonly<Record<string, unknown>> = {},
): Promise<void> {
  await mkdir(folder, { recursive: true })
  await copyFile(path, join(folder, `${id}.img`))
  const { __image_size: _, ...record } = goodImage
  const text = JSON.stringify({ ...record, id, name: `image ${id}`, file: `${id}.img`, ...attributes })
  await writeFile(join(folder, `${id}.json`), text)
}
