/*
 * The steps that must be whole, as scripts that Redis runs one at a time. KEYS[1] is the prefix of all keys:
 *
 *   job:ID      hash: the job as it was handed in (`job`), its claims, and what has become of it; `token` names the
 *               attempt that runs, so that one which lost its place can change nothing any more
 *   unfinished, running      sets of ids        images, targets      hash: claim → id
 *   keys        hash: project and idempotency key → id               project:P   ids by time
 *   finished    list of ids, the oldest first                        now, tags   the clock of fair sharing
 */
const PRELUDE = `
local P = KEYS[1]
local function at(name) return P .. ':' .. name end
local function jobKey(id) return at('job:' .. id) end
local function tell(id) redis.call('PUBLISH', at('changed'), id) end
local function over(state) return not state or state == 'SUCCESS' or state == 'FAIL' end

local function forget(id)
  local project, key = unpack(redis.call('HMGET', jobKey(id), 'project', 'key'))
  if project then redis.call('ZREM', at('project:' .. project), id) end
  if key then redis.call('HDEL', at('keys'), key) end
  redis.call('DEL', jobKey(id))
end

local function finish(id, state, endedAt, value, keep)
  local key = jobKey(id)
  local image, target = unpack(redis.call('HMGET', key, 'image', 'target'))
  redis.call('HSET', key, 'state', state, 'endedAt', endedAt, state == 'SUCCESS' and 'result' or 'error', value)
  if state == 'SUCCESS' then redis.call('HSET', key, 'percent', '1', 'task', 'done') end
  redis.call('HDEL', key, 'token', 'cancel', 'lost', 'tries', 'tag', 'image', 'target')
  redis.call('SREM', at('unfinished'), id)
  redis.call('SREM', at('running'), id)
  redis.call('HDEL', at('images'), image)
  redis.call('HDEL', at('targets'), target)
  redis.call('RPUSH', at('finished'), id)
  while redis.call('LLEN', at('finished')) > tonumber(keep) do forget(redis.call('LPOP', at('finished'))) end
  tell(id)
end
`

/**
 * Fair sharing: each job gets a tag, one step (less for a project with a larger share) after the project's last, and
 * never before the tag that is being served; the lowest tag goes first. A command that is sent again after a lost
 * connection finds its own job there.
 */
const SUBMIT = `
local id, job, image, target, project, key, created, most, step = unpack(ARGV)
if redis.call('EXISTS', jobKey(id)) == 1 then return {'accepted', redis.call('HGET', jobKey(id), 'tag') or '1'} end
if key ~= '' then
  local known = redis.call('HGET', at('keys'), key)
  if known then return {'known', known} end
end
if redis.call('HEXISTS', at('images'), image) == 1 then return {'image-claimed'} end
if redis.call('HEXISTS', at('targets'), target) == 1 then return {'target-claimed'} end
local unfinished = redis.call('SCARD', at('unfinished'))
if unfinished >= tonumber(most) then return {'too-many'} end
if unfinished == redis.call('SCARD', at('running')) then redis.call('DEL', at('tags'), at('now')) end
local now = tonumber(redis.call('GET', at('now')) or '0')
local last = tonumber(redis.call('HGET', at('tags'), project) or '0')
local tag = math.min(math.max(now, last) + tonumber(step), 2097151)
redis.call('HSET', at('tags'), project, tag)
redis.call('HSET', jobKey(id), 'job', job, 'image', image, 'target', target, 'project', project, 'state', 'INIT',
  'attempts', '0', 'percent', '0', 'task', 'waiting', 'tag', tag)
if key ~= '' then
  redis.call('HSET', jobKey(id), 'key', key)
  redis.call('HSET', at('keys'), key, id)
end
redis.call('HSET', at('images'), image, id)
redis.call('HSET', at('targets'), target, id)
redis.call('SADD', at('unfinished'), id)
redis.call('ZADD', at('project:' .. project), created, id)
return {'accepted', tostring(tag)}
`

/** An attempt takes the job; whichever had it before is out. */
const BEGIN = `
local id, token = unpack(ARGV)
local key = jobKey(id)
local state, last, cancel, tag = unpack(redis.call('HMGET', key, 'state', 'token', 'cancel', 'tag'))
if over(state) then return {'over'} end
if last ~= token then
  if state == 'RUNNING' then redis.call('HINCRBY', key, 'lost', 1) end
  if redis.call('HINCRBY', key, 'attempts', 1) == 1 and tonumber(tag) > tonumber(redis.call('GET', at('now')) or '0') then
    redis.call('SET', at('now'), tag)
  end
  redis.call('HSET', key, 'state', 'RUNNING', 'token', token, 'percent', '0', 'task', 'starting')
  redis.call('SADD', at('running'), id)
  tell(id)
end
local job, attempts, lost, tries = unpack(redis.call('HMGET', key, 'job', 'attempts', 'lost', 'tries'))
return {'begun', job, attempts, lost or '0', tries or '0', cancel or ''}
`

/** Says that the attempt lives, and how far it is; answers whether it may go on. */
const BEAT = `
local id, token, percent, task = unpack(ARGV)
local key = jobKey(id)
local last, cancel, oldPercent, oldTask = unpack(redis.call('HMGET', key, 'token', 'cancel', 'percent', 'task'))
if last ~= token then return 'lost' end
if percent ~= oldPercent or task ~= oldTask then
  redis.call('HSET', key, 'percent', percent, 'task', task)
  tell(id)
end
return cancel and 'cancel' or 'go'
`

const END = `
local id, token, state, endedAt, value, keep = unpack(ARGV)
if redis.call('HGET', jobKey(id), 'token') ~= token then return 'lost' end
finish(id, state, endedAt, value, keep)
return 'ended'
`

/** For another attempt, later. */
const PUT_BACK = `
local id, token, task, failed = unpack(ARGV)
local key = jobKey(id)
local last, cancel = unpack(redis.call('HMGET', key, 'token', 'cancel'))
if last ~= token then return 'lost' end
if cancel then return 'cancel' end
redis.call('HSET', key, 'state', 'INIT', 'task', task)
redis.call('HDEL', key, 'token')
redis.call('HINCRBY', key, 'tries', failed)
redis.call('SREM', at('running'), id)
tell(id)
return 'waiting'
`

const CANCEL = `
local id, endedAt, value, keep = unpack(ARGV)
local state = redis.call('HGET', jobKey(id), 'state')
if over(state) then return 'over' end
if state == 'INIT' then
  finish(id, 'FAIL', endedAt, value, keep)
  return 'ended'
end
redis.call('HSET', jobKey(id), 'cancel', '1')
redis.call('PUBLISH', at('cancelled'), id)
return 'asked'
`

/** Unfinished jobs, with their tags, that no queue holds: whoever accepted them ended before it could pass them on. */
const ORPHANS = `
local found = {}
for _, id in ipairs(redis.call('SMEMBERS', at('unfinished'))) do
  if redis.call('EXISTS', at(ARGV[1] .. ':' .. id)) == 0 then
    table.insert(found, id)
    table.insert(found, redis.call('HGET', jobKey(id), 'tag') or '1')
  end
end
return found
`

const bodies = { SUBMIT, BEGIN, BEAT, END, PUT_BACK, CANCEL, ORPHANS }

export type ScriptName = keyof typeof bodies

export const scripts = Object.fromEntries(
  Object.entries(bodies).map(([name, body]) => [name, PRELUDE + body]),
) as Readonly<Record<ScriptName, string>>
