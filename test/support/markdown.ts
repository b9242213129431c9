import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './run-node.ts'

export interface Page {
  /** Relative to the repository. */
  readonly name: string
  readonly text: string
}

/** Every page that people read: those of the root, of docs, and of the examples. */
export function pages(): Page[] {
  const inFolder = (folder: string) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.md') && !name.includes('node_modules'))
      .map((name) => join(folder, name))
  const top = readdirSync(root).filter((name) => name.endsWith('.md'))
  return [...top, ...inFolder('docs'), ...inFolder('examples'), ...inFolder('bench/results')].map(page)
}

export function page(name: string): Page {
  return { name, text: readFileSync(join(root, name), 'utf8') }
}

/** What stands in fences of one language. */
export function blocksOf({ text }: Page, language: string): string[] {
  const fences = new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\`$`, 'gm')
  return [...text.matchAll(fences)].map(([, block = '']) => block)
}

const withoutCode = (text: string) => text.replace(/^```[\s\S]*?^```$/gm, '').replace(/`[^`\n]*`/g, '')

/** Where a page leads: everything in round brackets behind square ones. */
export function linksOf({ text }: Page): string[] {
  return [...withoutCode(text).matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = '']) => link)
}

/** The anchors that GitHub makes of a page's headings. */
export function anchorsOf({ text }: Page): string[] {
  const headings = [...text.replace(/^```[\s\S]*?^```$/gm, '').matchAll(/^#+ (.+)$/gm)].map(
    ([, heading = '']) => heading,
  )
  return headings.map((heading) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .trim()
      .replace(/\s/g, '-'),
  )
}
