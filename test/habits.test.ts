import { readFile, writeFile } from 'node:fs/promises'
import { beforeAll, describe, expect, it } from 'vitest'
import { completionScript, SHELLS } from '../src/cli/completion.ts'
import { EXIT_CODES, ExitCode } from '../src/cli/exit-codes.ts'
import { verbsOf } from '../src/cli/grammar.ts'
import { manualPage } from '../src/cli/manual-page.ts'
import { createProgram } from '../src/cli/program.ts'
import { describeFormats } from '../src/index.ts'
import { root, runCli } from './support/run-node.ts'
import { testBucket } from './support/s3-bucket.ts'
import { tempFolder } from './support/temp-folder.ts'
import { runTool } from './support/tools.ts'

const path = tempFolder()
const program = createProgram()
const verbs = verbsOf(program)
const names = verbs.map(({ name }) => name)

function helpOf(name: string): string {
  let help = ''
  const writeOut = (text: string) => {
    help += text
  }
  const command = program.commands.find((candidate) => candidate.name() === name)
  command?.configureOutput({ writeOut }).outputHelp()
  return help
}

describe('help', () => {
  it.each(names)('of %s has examples whose flags are there', (name) => {
    const [, ...lines] = helpOf(name).split(/Examples?:\n/)
    const examples = lines.join('').match(/\bdiskferry .*/g) ?? []
    expect(examples.length).toBeGreaterThan(0)
    const known = new Set(verbs.find((verb) => verb.name === name)?.flags.flatMap(({ short, long }) => [short, long]))
    for (const example of examples) {
      const [own = ''] = example.split(/[|>#)]/)
      expect(own).toContain(name)
      for (const [flag] of own.matchAll(/(?<= )--?[a-z][a-z-]*/g)) expect([...known]).toContain(flag)
    }
  })

  it('explains every exit code', () => {
    expect(EXIT_CODES.map(([code]) => code).sort()).toEqual(Object.values(ExitCode).sort())
  })
})

describe('the manual page', () => {
  it('is made of the grammar as it is (npm run docs)', async () => {
    expect(await readFile(`${root}man/diskferry.1`, 'utf8')).toBe(manualPage(createProgram()))
  })

  it('is set without a warning, and names every command, flag and exit code', async () => {
    const { stdout, stderr } = await runTool(
      'man',
      ['--warnings', '-E', 'UTF-8', '-P', 'cat', '-l', 'man/diskferry.1'],
      {
        cwd: root,
      },
    )
    expect(stderr).toBe('')
    const text = stdout.replaceAll(/\p{Cc}\[\d*m/gu, '')
    for (const { name, flags } of verbs) {
      expect(text).toContain(`diskferry ${name}`)
      for (const { long } of flags) expect(text).toContain(long)
    }
    for (const [code] of EXIT_CODES) expect(text).toMatch(new RegExp(`^ +${code} `, 'm'))
  })
})

describe('completion', () => {
  const writable = describeFormats().flatMap(({ name, writes }) => (writes ? [name] : []))

  beforeAll(async () => {
    for (const shell of SHELLS) await writeFile(path(shell), completionScript(shell, verbs))
  })

  const inBash = async (...words: string[]) => {
    const script = `source ${path('bash')}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _diskferry; echo "\${COMPREPLY[@]}"`
    return (await runTool('bash', ['-c', script, 'bash', ...words])).stdout.trim().split(' ')
  }
  const inFish = async (line: string) => {
    const { stdout } = await runTool('fish', ['--no-config', '-c', `source ${path('fish')}; complete -C '${line}'`])
    return stdout
      .trim()
      .split('\n')
      .map((candidate) => candidate.split('\t')[0])
  }
  /** Zsh completes only for someone who types: on a terminal of its own, with a Tab. Waits until `expected` is there. */
  const inZsh = async (line: string, expected: string) => {
    const script = `zmodload zsh/zpty; export TERM=dumb; zpty z zsh -f -i
      zpty -w z "PS1=; autoload -U compinit; compinit -u -D; source ${path('zsh')}; echo re''ady"; zpty -r z seen '*ready*'
      zpty -w -n z $'${line}\\t'; zpty -r z seen '*${expected}*'; print -r -- "$seen"`
    return (await runTool('zsh', ['-f', '-c', script], { cwd: path('') })).stdout
  }

  it('offers commands', async () => {
    expect(await inBash('diskferry', 'co')).toEqual(['convert', 'completion'])
    expect((await inFish('diskferry ')).sort()).toEqual([...names].sort())
    expect(await inZsh('diskferry conv', 'convert ')).toContain('diskferry convert ')
  })

  it('offers the formats that can be written', async () => {
    expect(await inBash('diskferry', 'convert', 'a', 'b', '--to', '')).toEqual(writable)
    expect((await inFish('diskferry convert a b --to ')).sort()).toEqual([...writable].sort())
    expect(await inZsh('diskferry convert a b --to qc', 'qcow2 ')).toContain('--to qcow2 ')
  })

  it('offers the flags of a command, and no others', async () => {
    expect(await inBash('diskferry', 'convert', '--k')).toEqual(['--keep-zeros'])
    expect(await inBash('diskferry', 'inspect', '--k')).toEqual([''])
    expect(await inFish('diskferry convert --keep')).toEqual(['--keep-zeros'])
    expect(await inZsh('diskferry convert --keep', '-zeros ')).toContain('--keep-zeros ')
  })

  it('is printed by the command', async () => {
    for (const shell of SHELLS) {
      const { stdout } = await runCli(['completion', shell])
      expect(stdout.toString()).toBe(await readFile(path(shell), 'utf8'))
    }
    expect(await runCli(['completion', 'tcsh'])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('bash, zsh'),
    })
  })
})

describe('doctor', () => {
  const bucket = testBucket()

  it('tells of this machine', async () => {
    const { code, stdout, stderr } = await runCli(['doctor'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    for (const words of [
      `ok    Node.js            ${process.version}`,
      'CRC-32C',
      '/s on one thread',
      'threads',
      'zstd',
      'ok    holes in files     found',
    ])
      expect(stdout.toString()).toContain(words)
  })

  it('tells what a store does, and leaves nothing there', async () => {
    const { code, stdout, stderr } = await runCli(['doctor', `s3://${bucket.name}/some/`, '--json'], {
      env: bucket.environment(),
    })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const findings = JSON.parse(stdout.toString()) as { name: string; ok: boolean }[]
    expect(findings).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ name: 'store', ok: true }),
        expect.objectContaining({ name: 'part checksums', ok: true }),
      ]),
    )
    expect(await bucket.keys()).toEqual([])
    expect(await bucket.openUploads()).toEqual([])
  })

  it('tells what to do when the store does not answer, or is none', async () => {
    const env = { ...bucket.environment(), AWS_ENDPOINT_URL_S3: 'http://127.0.0.1:9' }
    const unreachable = await runCli(['doctor', 's3://exports'], { env })
    expect(unreachable).toMatchObject({ code: 5, stderr: expect.stringContaining('nothing listens there') })
    const missing = await runCli(['doctor', 's3://nowhere'], { env: bucket.environment() })
    expect(missing).toMatchObject({ code: 5, stderr: expect.stringContaining('make the bucket first') })
    expect(await runCli(['doctor', 'exports'])).toMatchObject({ code: 2 })
  })
})
