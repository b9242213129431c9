import { readFileSync, writeFileSync } from 'node:fs'
import { withFormatsTable } from '../test/support/formats-table.ts'

/* npm run docs: writes into README.md what is made from the code. A test holds that it is there. */

const readme = new URL('../README.md', import.meta.url)
writeFileSync(readme, withFormatsTable(readFileSync(readme, 'utf8')))
