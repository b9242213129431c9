/** What the console page does, in the browser. Whatever comes from the API is set as text, never as markup. */
export const CONSOLE_SCRIPT = `
'use strict'
const byId = (id) => document.getElementById(id)
const POLL_MS = 1000
let caller
let timer

async function ask(path, init = {}) {
  const response = await fetch(path, { ...init, headers: { 'X-Auth-Token': caller.token, ...init.headers } })
  const body = await response.json()
  if (!response.ok) throw new Error(body.error.code + ': ' + body.error.message)
  return body
}

function say(text, isGood = false) {
  const message = byId('message')
  message.textContent = text
  message.className = isGood ? 'good' : 'bad'
}

async function saying(action) {
  try {
    say('')
    await action()
  } catch (error) {
    say(error.message)
  }
}

function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties)
  element.append(...children)
  return element
}

function mib(bytes) {
  return (bytes / 2 ** 20).toFixed(1) + ' MiB'
}

async function showImages() {
  const { images } = await ask('/v1/cloudimages')
  byId('images').replaceChildren(...images.map(({ id, name, status, size }) =>
    make('tr', {}, make('td', { textContent: name }), make('td', { textContent: id }),
      make('td', { textContent: status }), make('td', { textContent: mib(size) }))))
  byId('image').replaceChildren(...images.map(({ id, name }) => make('option', { value: id, textContent: name })))
}

function jobRow(job) {
  const { image_name, process_percent, current_task } = job.entities
  const isOver = job.end_time !== ''
  const cancel = make('button', { type: 'button', textContent: 'Cancel', disabled: isOver })
  cancel.addEventListener('click', () => saying(async () => {
    cancel.disabled = true
    await ask('/v1/cloudimages/job/' + job.job_id, { method: 'DELETE' })
    await showJobs()
  }))
  const bar = make('progress', { max: 1, value: process_percent, ariaLabel: 'progress' })
  const why = job.fail_reason === null ? current_task : job.error_code + ': ' + job.fail_reason
  const row = make('tr', {}, make('td', { textContent: image_name }), make('td', { textContent: job.status }),
    make('td', {}, bar, ' ' + Math.round(process_percent * 100) + ' %'), make('td', { textContent: why }),
    make('td', {}, cancel))
  row.dataset.job = job.job_id
  row.dataset.status = job.status
  return row
}

async function showJobs() {
  clearTimeout(timer)
  const jobs = await ask('/v1/' + encodeURIComponent(caller.project) + '/jobs?limit=50').then((body) => body.jobs)
  // A row that has not changed stays: a button under somebody's finger must not move away.
  const rows = new Map([...byId('jobs').children].map((row) => [row.dataset.job, row]))
  byId('jobs').replaceChildren(...jobs.map((job) => {
    const text = JSON.stringify(job)
    const known = rows.get(job.job_id)
    if (known !== undefined && known.seen === text) return known
    return Object.assign(jobRow(job), { seen: text })
  }))
  timer = setTimeout(() => showJobs().catch(retry), POLL_MS)
}

function retry(error) {
  say(error.message)
  timer = setTimeout(() => showJobs().then(() => say('', true), retry), 5 * POLL_MS)
}

function requestOf(form) {
  const format = form.get('format')
  const target = { bucket_url: form.get('bucket') + ':' + form.get('file') }
  return format === 'quick' ? { ...target, is_quick_export: true } : { ...target, file_format: format }
}

function submit(isDryRun) {
  const form = new FormData(byId('export'))
  const path = '/v1/cloudimages/' + encodeURIComponent(form.get('image')) + '/file' + (isDryRun ? '?dry_run=true' : '')
  const headers = { 'Content-Type': 'application/json' }
  return ask(path, { method: 'POST', headers, body: JSON.stringify(requestOf(form)) })
}

byId('caller').addEventListener('submit', (event) => {
  event.preventDefault()
  const form = new FormData(event.target)
  caller = { project: form.get('project'), token: form.get('token') }
  saying(async () => {
    await Promise.all([showImages(), showJobs()])
    byId('work').hidden = false
  })
})

byId('export').addEventListener('submit', (event) => {
  event.preventDefault()
  saying(async () => {
    const { job_id } = await submit(false)
    say('job ' + job_id + ' was accepted', true)
    await showJobs()
  })
})

byId('check').addEventListener('click', () => saying(async () => {
  const { exportable, violations } = await submit(true)
  if (exportable) return say('this may be exported', true)
  say(violations.map(({ code, found, explain }) => code + ': ' + found + ' (' + explain + ')').join('; '))
}))
`
