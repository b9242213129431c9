import { createHash } from 'node:crypto'
import type { App } from './app.ts'
import { CONSOLE_SCRIPT } from './console-script.ts'

const STYLE = `
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #1c2128 }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #d0d7de; vertical-align: top }
form { display: flex; flex-wrap: wrap; gap: .8rem; align-items: end }
label { display: grid; font-size: .85rem }
input, select, button { font: inherit; padding: .2rem .5rem }
#message { min-height: 1.5em } .bad { color: #b42318 } .good { color: #1a7f37 }
`

const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Image exports</title>
<style>${STYLE}</style>
</head>
<body>
<h1>Image exports</h1>
<form id="caller">
  <label>Project <input name="project" required autocomplete="off"></label>
  <label>Token <input name="token" type="password" required autocomplete="off"></label>
  <button>Show</button>
</form>
<p id="message" role="status"></p>
<main id="work" hidden>
  <h2>Export</h2>
  <form id="export">
    <label>Image <select id="image" name="image" required></select></label>
    <label>Bucket <input name="bucket" required></label>
    <label>File <input name="file" required></label>
    <label>Format <select name="format">
      <option>qcow2</option><option>vhd</option><option>zvhd</option><option>vmdk</option>
      <option value="quick">quick export (zvhd2)</option>
    </select></label>
    <button type="button" id="check">Check</button>
    <button>Export</button>
  </form>
  <h2>Jobs</h2>
  <table>
    <thead><tr><th>Image</th><th>Status</th><th>Progress</th><th>What, or why not</th><th></th></tr></thead>
    <tbody id="jobs"></tbody>
  </table>
  <h2>Images</h2>
  <table>
    <thead><tr><th>Name</th><th>Id</th><th>Status</th><th>Size</th></tr></thead>
    <tbody id="images"></tbody>
  </table>
</main>
<script>${CONSOLE_SCRIPT}</script>
</body>
</html>
`

const hashOf = (text: string) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`

/** Nothing runs in the page but what is in it, and it talks to its own service alone. */
const HEADERS = {
  'Content-Security-Policy': [
    "default-src 'none'",
    `script-src ${hashOf(CONSOLE_SCRIPT)}`,
    `style-src ${hashOf(STYLE)}`,
    "connect-src 'self'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "base-uri 'none'",
  ].join('; '),
  'Referrer-Policy': 'no-referrer',
}

/** A page for people, which knows no more than the API tells whoever has a token. */
export function serveConsole(app: App): void {
  app.get('/console', (context) => context.html(PAGE, 200, HEADERS))
}
