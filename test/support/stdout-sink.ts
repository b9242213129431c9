import { readFileSync } from 'node:fs'
import { stdoutTarget } from '../../src/index.ts'
import { abandonSink, feedSink } from './feed-sink.ts'

/**
 * Writes FILE to standard output by its sink; with UNTIL, only so much of it, and then aborts. Says on standard error what
 * the sink answered. usage: stdout-sink.ts FILE [UNTIL]
 */
const [file = '', until] = process.argv.slice(2)
const bytes = readFileSync(file)
const sink = await stdoutTarget().open({ size: bytes.length, sizeAtMost: bytes.length })
if (until === undefined) console.error(JSON.stringify(await sink.finish(await feedSink(sink, bytes))))
else await abandonSink(sink, bytes, Number(until), new Error('enough'))
