import { existsSync } from 'node:fs'
import { type Browser, chromium } from 'playwright-core'

const PLACES = ['/usr/bin/chromium-headless-shell', '/usr/bin/chromium']

/** The system's Chromium, without a window. */
export function launchBrowser(): Promise<Browser> {
  const executablePath = PLACES.find((path) => existsSync(path))
  if (executablePath === undefined) throw new Error('Chromium is not installed: run scripts/install-tools.sh')
  return chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu'] })
}
