// As much of NBD as reading takes: https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md
import { connect } from 'node:net'

const IHAVEOPT = 0x49484156454f5054n
const OPTION_REPLY = 0x3e889045565a9n
const REQUEST = 0x25609513
const SIMPLE_REPLY = 0x67446698
const Option = { GO: 7 }
const Reply = { ACK: 1, INFO: 3 }
const Command = { READ: 0, DISCONNECT: 2 }
const INFO_EXPORT = 0
/** Fixed newstyle, and no zeros to fill the handshake up. */
const CLIENT_FLAGS = 3
/** What every server takes. */
const MOST_BYTES = 32 * 2 ** 20

/** The export that a URI names, as a source: `size`, and `read`, which may be called again before it has answered. */
export async function connectNbd(uri) {
  const { protocol, hostname, port, pathname, searchParams } = new URL(uri)
  const place =
    protocol === 'nbd+unix:' ? { path: searchParams.get('socket') } : { host: hostname, port: port || 10809 }
  const socket = connect(place)
  const take = reader(socket)
  try {
    const size = await negotiate(socket, take, decodeURIComponent(pathname.slice(1)))
    return { size, name: uri, ...transmission(socket, take) }
  } catch (error) {
    socket.destroy()
    throw error
  }
}

/** Gives so many bytes as they come, one caller after the other. */
function reader(socket) {
  const chunks = socket[Symbol.asyncIterator]()
  let left = Buffer.alloc(0)
  return async (length) => {
    const parts = [left]
    for (let have = left.length; have < length; ) {
      const { done, value } = await chunks.next()
      if (done) throw new Error('the NBD server closed the connection')
      parts.push(value)
      have += value.length
    }
    const all = Buffer.concat(parts)
    left = all.subarray(length)
    return all.subarray(0, length)
  }
}

/** The size of the export. */
async function negotiate(socket, take, name) {
  const greeting = await take(18)
  if (greeting.toString('latin1', 0, 16) !== 'NBDMAGICIHAVEOPT') throw new Error('this is no NBD server')
  const wanted = Buffer.from(name)
  const option = Buffer.alloc(4 + 16 + 4 + wanted.length + 2)
  option.writeUInt32BE(CLIENT_FLAGS, 0)
  option.writeBigUInt64BE(IHAVEOPT, 4)
  option.writeUInt32BE(Option.GO, 12)
  option.writeUInt32BE(4 + wanted.length + 2, 16)
  option.writeUInt32BE(wanted.length, 20)
  wanted.copy(option, 24)
  socket.write(option)
  let size
  for (;;) {
    const head = await take(20)
    if (head.readBigUInt64BE(0) !== OPTION_REPLY) throw new Error('the NBD server does not keep to the protocol')
    const [type, length] = [head.readUInt32BE(12), head.readUInt32BE(16)]
    const data = await take(length)
    if (type === Reply.INFO && data.readUInt16BE(0) === INFO_EXPORT) size = Number(data.readBigUInt64BE(2))
    else if (type === Reply.ACK) return size
    else if (type !== Reply.INFO) throw new Error(`the NBD server refuses the export "${name}": ${data}`)
  }
}

function transmission(socket, take) {
  const pending = new Map()
  let cookie = 0n
  const send = (type, offset, length) => {
    const request = Buffer.alloc(28)
    request.writeUInt32BE(REQUEST, 0)
    request.writeUInt16BE(type, 6)
    request.writeBigUInt64BE(++cookie, 8)
    request.writeBigUInt64BE(BigInt(offset), 16)
    request.writeUInt32BE(length, 24)
    socket.write(request)
    return cookie
  }
  const receive = async () => {
    for (;;) {
      const head = await take(16)
      const waiting = pending.get(head.readBigUInt64BE(8))
      if (head.readUInt32BE(0) !== SIMPLE_REPLY || waiting === undefined) throw new Error('the NBD server lost its way')
      pending.delete(head.readBigUInt64BE(8))
      const error = head.readUInt32BE(4)
      if (error === 0) waiting.resolve(await take(waiting.length))
      else waiting.reject(new Error(`the NBD server can't read: error ${error}`))
    }
  }
  let failure
  receive().catch((error) => {
    failure = error
    for (const { reject } of pending.values()) reject(error)
  })
  const readOnce = (offset, length) =>
    new Promise((resolve, reject) => {
      if (failure !== undefined) reject(failure)
      else pending.set(send(Command.READ, offset, length), { resolve, reject, length })
    })
  return {
    async read(offset, length) {
      const starts = Array.from({ length: Math.ceil(length / MOST_BYTES) }, (_, i) => i * MOST_BYTES)
      const parts = starts.map((start) => readOnce(offset + start, Math.min(MOST_BYTES, length - start)))
      return parts.length === 1 ? parts[0] : Buffer.concat(await Promise.all(parts))
    },
    close() {
      send(Command.DISCONNECT, 0, 0)
      socket.end()
    },
  }
}
