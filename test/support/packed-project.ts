import { execFileSync } from 'node:child_process'
import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { root } from './run-node.ts'

export interface Manifest {
  readonly version: string
  readonly dependencies: Readonly<Record<string, string>>
  readonly optionalDependencies: Readonly<Record<string, string>>
}

/**
 * What `npm install` makes of the package in an empty project, but for the way there: its own files, as `npm pack` packs
 * them, and the dependencies that it declares. Gives the path of the tarball.
 */
export async function installPacked(project: string, further: readonly string[] = []): Promise<string> {
  const manifest = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as Manifest
  const modules = join(project, 'node_modules')
  await mkdir(modules, { recursive: true })
  execFileSync('npm', ['pack', '--ignore-scripts', '--silent', '--pack-destination', project], { cwd: root })
  const tarball = join(project, `diskferry-${manifest.version}.tgz`)
  execFileSync('tar', ['-xzf', tarball, '-C', modules])
  await cp(join(modules, 'package'), join(modules, 'diskferry'), { recursive: true })
  const declared = [...Object.keys(manifest.dependencies), ...Object.keys(manifest.optionalDependencies)]
  for (const name of new Set([...declared, '@types/node', ...further])) {
    await mkdir(dirname(join(modules, name)), { recursive: true })
    await symlink(join(root, 'node_modules', name), join(modules, name))
  }
  await writeFile(join(project, 'package.json'), '{ "type": "module" }')
  return tarball
}
