// node main.mjs nbd://host:10809/export TARGET, or nbd+unix:///export?socket=/path TARGET: a disk that qemu-nbd, nbdkit or
// a hypervisor serves, as a qcow2. What is served is the disk itself, so it is said to be raw: a guest can write any
// header into its first sectors, and must not choose the format that is read.
import { convert } from 'diskferry'
import { connectNbd } from './nbd.mjs'

const [uri, target] = process.argv.slice(2)
const disk = await connectNbd(uri)
try {
  const { location, crc32c, dataBytes } = await convert({ source: disk, from: 'raw', to: 'qcow2', target })
  console.log(`${location}: ${dataBytes} bytes of data, CRC-32C ${crc32c}`)
} finally {
  disk.close()
}
