import { describe, expect, it } from 'vitest'
import { openImage } from '../src/index.ts'
import { memorySource } from '../src/io/source.ts'
import {
  checkExport,
  checkOpened,
  defaultPolicy,
  exportRules,
  openedRules,
  policyFrom,
  readBody,
} from '../src/rules/index.ts'
import { allowedCases, type ExportCase, exportCases, goodBody, goodImage, partsOf } from './support/export-cases.ts'

function check(example: Omit<ExportCase, 'rule' | 'code'>) {
  const { image, text, caller, bucket, jobs } = partsOf(example)
  return checkExport(image, { body: readBody(text), caller, bucket, jobs }, policyFrom(example.policy ?? {}))
}

const caller = { project: 'p1', roles: ['te_admin'] }

describe('the rules of an export', () => {
  it('are broken in the table below, each of them', () => {
    expect([...new Set(exportCases.map(({ rule }) => rule))].sort()).toEqual(exportRules.map(({ name }) => name).sort())
  })

  it('have every code that the API has for a request', () => {
    // Those of any failure (0061) and of a job whose image is gone (0144) are no rule's.
    const numbers =
      '0001 0007 0017 0026 0027 0046 0047 0058 0060 0068 0069 0070 0071 0072 0073 0074 0075 0077 0078 0079 0080 0081 ' +
      '0106 0109 0128 0148 0160 0167'
    const codes = numbers.split(' ').map((number) => `IMG.${number}`)
    expect([...new Set(exportCases.map(({ code }) => code))].sort()).toEqual(codes)
  })

  it('have names of their own', () => {
    const names = [...exportRules, ...openedRules].map(({ name }) => name)
    expect(new Set(names).size).toBe(names.length)
  })

  it.each(exportCases)('$rule ($as) is $code', (example) => {
    const { ok, violations, unchecked } = check(example)
    expect(ok).toBe(false)
    expect(violations.map(({ rule }) => rule).sort()).toEqual([example.rule, ...(example.also ?? [])].sort())
    const violation = violations.find(({ rule }) => rule === example.rule)
    expect(violation).toMatchObject({ code: example.code, status: example.status ?? 400 })
    expect(violation?.found).not.toBe('')
    expect(violation?.explain).not.toBe('')
    expect(unchecked).toEqual([])
  })

  it.each(allowedCases)('allow $as', (example) => {
    expect(check(example)).toEqual({ ok: true, violations: [], unchecked: [] })
  })

  it('are all reported, not only the first', () => {
    const image = { ...goodImage, status: 'queued', visibility: 'public', __backup_id: 'b', __whole_image: true }
    const body = { bucket_url: ':', file_format: 'zip' }
    const { violations } = checkExport(image, { body, caller: { project: 'p1', roles: [] } })
    expect(violations.map(({ code }) => code)).toEqual([
      'IMG.0026',
      'IMG.0068',
      'IMG.0073',
      'IMG.0072',
      'IMG.0046',
      'IMG.0077',
      'IMG.0080',
      'IMG.0128',
    ])
  })

  it('say which were not checked for want of facts', () => {
    const { ok, unchecked } = checkExport(goodImage, { body: goodBody, caller })
    expect(ok).toBe(true)
    expect(unchecked).toEqual(
      exportRules.filter(({ about }) => about === 'bucket' || about === 'jobs').map((r) => r.name),
    )
  })

  it('refuse whoever can not say who calls', () => {
    expect(checkExport(goodImage, { body: goodBody }).violations[0]).toMatchObject({ code: 'IMG.0026', status: 403 })
  })

  it('are broken by a record that throws, and by one that says nothing', () => {
    const hostile = new Proxy(goodImage, {
      getOwnPropertyDescriptor() {
        throw new Error('no')
      },
    })
    const about = exportRules.filter((rule) => rule.about === 'image').map(({ name }) => name)
    const thrown = checkExport(hostile, { body: goodBody, caller }).violations.map(({ rule }) => rule)
    const quiet = ['exists', 'not-encrypted-quickly', 'os-version'] // they have nothing to read in this export
    expect(thrown).toEqual(about.filter((name) => !quiet.includes(name)))
    const silent = checkExport({ id: 'i', name: 'n' }, { body: goodBody, caller }).violations.map(({ code }) => code)
    expect(silent).toEqual(['IMG.0046', 'IMG.0047', 'IMG.0077', 'IMG.0081', 'IMG.0167', 'IMG.0160', 'IMG.0160'])
  })

  it('do not take an attribute from the prototype', () => {
    const inherited = Object.assign(Object.create({ status: 'active' }), { ...goodImage, status: undefined })
    expect(checkExport(inherited, { body: goodBody, caller }).violations[0]).toMatchObject({ rule: 'usable' })
  })
})

describe('a policy', () => {
  it('has the limits of the API’s first page by default', () => {
    expect(defaultPolicy).toMatchObject({
      formats: ['vmdk', 'vhd', 'qcow2', 'zvhd'],
      systemDisk: { fileBelowGiB: 128, diskAtMostGiB: 1024 },
      dataDisk: { fileBelowGiB: 128, diskAtMostGiB: 2048 },
    })
  })

  it('gives rules other codes, and turns them off', () => {
    const policy = policyFrom({ codes: { usable: 'IMG.9999' }, off: ['no-iso'] })
    const image = { ...goodImage, status: 'queued', virtual_env_type: 'IsoImage' }
    const { violations } = checkExport(image, { body: goodBody, caller }, policy)
    expect(violations.map(({ code }) => code)).toEqual(['IMG.9999'])
  })

  it.each([
    ['an unknown field', { limits: 5 }, 'limits'],
    ['a limit that is no number', { systemDisk: { fileBelowGiB: '5', diskAtMostGiB: 1 } }, 'fileBelowGiB'],
    ['a code of another form', { codes: { usable: '46' } }, 'IMG.0072'],
    ['a rule that there is not', { off: ['nosuch'] }, 'nosuch'],
  ])('with %s is refused, by name', (_, value, name) => {
    expect(() => policyFrom(value)).toThrowError(
      expect.objectContaining({ code: 'usage', message: expect.stringContaining(name) }),
    )
  })
})

describe('the rules on an opened image', () => {
  const subject = { image: goodImage, request: { body: goodBody, caller }, policy: defaultPolicy }
  const facts = { variant: 'v3', features: [], warnings: [], details: {} }

  it('allow a plain one', async () => {
    const disk = await openImage(memorySource(new Uint8Array(4096)))
    expect(checkOpened({ disk }, subject)).toEqual([])
  })

  it.each([
    ['no-backing-file', { facts: { ...facts, backingFile: '/etc/passwd' } }, 'IMG.0071'],
    ['no-data-file', { facts: { ...facts, dataFile: '/etc/passwd' } }, 'IMG.0071'],
    ['not-encrypted', { facts: { ...facts, encryption: 'luks' } }, 'IMG.0071'],
    ['real-disk-size', { virtualSize: 1025 * 2 ** 30 }, 'IMG.0160'],
  ])('%s', async (rule, change, code) => {
    const disk = { ...(await openImage(memorySource(new Uint8Array(4096)))), ...change }
    expect(checkOpened({ disk }, subject)).toMatchObject([{ rule, code, status: 400 }])
  })

  it('say why one could not be opened, and nothing of errors that are not ours', async () => {
    const error = await openImage(memorySource(Buffer.from('QFI\xfb\0\0\0\x09rest', 'latin1'))).catch((e) => e)
    expect(checkOpened({ error }, subject)).toMatchObject([{ rule: 'readable', code: 'IMG.0071' }])
    const [violation] = checkOpened({ error: new Error('/secret') }, subject)
    expect(violation?.found).not.toContain('secret')
  })
})
