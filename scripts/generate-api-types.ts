/** Writes the types of the API's client, as the tests use it, from the service's own OpenAPI document. */
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { apiTypes } from '../test/support/api-document.ts'

writeFileSync(fileURLToPath(new URL('../test/support/api-types.ts', import.meta.url)), await apiTypes())
