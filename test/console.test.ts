import { copyFile, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Browser, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createPool, type Pool } from '../src/index.ts'
import {
  exportRunner,
  folderCatalog,
  type JobQueue,
  type JobRunner,
  openLocalQueue,
  s3Targets,
} from '../src/service/index.ts'
import { launchBrowser } from './support/browser.ts'
import { apiServer } from './support/export-api.ts'
import { goodImage } from './support/export-cases.ts'
import { testBucket } from './support/s3-bucket.ts'
import { tempFolder } from './support/temp-folder.ts'

const SLOW = 'slow-image'
const bucket = testBucket()
const server = apiServer()
const file = tempFolder()
let pool: Pool
let queue: JobQueue
let browser: Browser
let page: Page
const troubles: string[] = []

beforeAll(async () => {
  pool = createPool({ threads: 1 })
  const folder = dirname(file('x'))
  await copyFile('fixtures/real-ext4.qcow2', file('disk.qcow2'))
  for (const [id, name] of [['image-1', 'centos <b>7</b>'], [SLOW, 'slow']] as const) // biome-ignore format: a table
    await writeFile(file(`${id}.json`), JSON.stringify({ ...goodImage, id, name, file: 'disk.qcow2' }))
  const seams = { catalog: folderCatalog(folder), targets: s3Targets({ client: bucket.client }) }
  const real = exportRunner({ ...seams, pool })
  /** One image takes as long as it is let. */
  const run: JobRunner = async (job, context) => {
    if (job.image.id !== SLOW) return real(job, context)
    context.report({ percent: 0.4, task: 'converting and uploading' })
    await new Promise((resolve) => context.signal.addEventListener('abort', resolve, { once: true }))
    throw context.signal.reason
  }
  queue = await openLocalQueue({ run })
  server.use({ ...seams, queue })
  browser = await launchBrowser()
})
afterAll(async () => {
  await browser?.close()
  await queue?.close()
  await pool?.close()
})

beforeEach(async () => {
  page = await browser.newPage()
  page.setDefaultTimeout(60_000)
  page.on('pageerror', (error) => troubles.push(String(error)))
  page.on(
    'console',
    (message) => void (/Content.Security.Policy/i.test(message.text()) && troubles.push(message.text())),
  )
  await page.goto(`${server.address}/console`)
})
afterEach(async () => {
  await page.close()
  expect(troubles).toEqual([])
})

async function enter(token = 'token-p1') {
  await page.getByLabel('Project').fill('p1')
  await page.getByLabel('Token').fill(token)
  await page.getByRole('button', { name: 'Show' }).click()
}

async function fillExport(image: string, name: string) {
  await page.getByLabel('Image').selectOption(image)
  await page.getByLabel('Bucket').fill(bucket.name)
  await page.getByLabel('File').fill(name)
  await page.getByLabel('Format').selectOption('vhd')
}

const message = () => page.locator('#message')
const job = (status: string) => page.locator(`#jobs tr[data-status="${status}"]`)

describe('the console', () => {
  it('shows nothing to whoever has no good token', async () => {
    await enter('nobody')
    await message().getByText('DFY.0401').waitFor()
    expect(await page.locator('#work').isVisible()).toBe(false)
  })

  it('shows the images, with names as they are, and exports one', async () => {
    await enter()
    await page.locator('#images').getByText('centos <b>7</b>').waitFor()
    await fillExport('image-1', 'console.vhd')
    await page.getByRole('button', { name: 'Check' }).click()
    await message().getByText('this may be exported').waitFor()
    await page.getByRole('button', { name: 'Export' }).click()
    await job('SUCCESS').getByText('100 %').waitFor()
    expect(await bucket.keys()).toEqual(['console.vhd'])
  })

  it('says why an export is refused', async () => {
    await enter()
    await fillExport('image-1', 'console.vhd')
    await page.getByRole('button', { name: 'Export' }).click()
    await message().getByText('IMG.0070').waitFor()
  })

  it('shows how far a job is, cancels it, and says so', async () => {
    await enter()
    await fillExport(SLOW, 'slow.vhd')
    await page.getByRole('button', { name: 'Export' }).click()
    await job('RUNNING').getByText('40 %').waitFor()
    expect(await job('RUNNING').locator('progress').getAttribute('value')).toBe('0.4')
    await job('RUNNING').getByRole('button', { name: 'Cancel' }).click()
    await job('FAIL').getByText('DFY.0001: the export was cancelled').waitFor()
    expect(await job('FAIL').getByRole('button').isDisabled()).toBe(true)
  })
})
