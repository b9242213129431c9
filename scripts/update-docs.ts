import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { manualPage } from '../src/cli/manual-page.ts'
import { createProgram } from '../src/cli/program.ts'
import { withFormatsTable, withOptionsTable } from '../test/support/formats-table.ts'

/* npm run docs: writes what is made from the code, into README.md, docs/ and man/. Tests hold that it is there. */

const rewrite = (name: string, renew: (text: string) => string) => {
  const file = new URL(`../${name}`, import.meta.url)
  writeFileSync(file, renew(readFileSync(file, 'utf8')))
}
rewrite('README.md', withFormatsTable)
rewrite('docs/formats.md', withOptionsTable)

const manual = new URL('../man/diskferry.1', import.meta.url)
mkdirSync(new URL('.', manual), { recursive: true })
writeFileSync(manual, manualPage(createProgram()))
