"""Look at the built site (make docs) in a browser, at 1280 and at 390 pixels: equations wider than their box, numbers
over their equations, mathematics that KaTeX cannot read, pages that scroll sideways; and source that is shown twice.
Needs chromium (on Debian: apt install chromium).

  tools/check_pages.py                            every page
  tools/check_pages.py grid wigner --pictures p   two pages, with a picture of each at both widths in the folder p"""
import argparse
import collections
import functools
import html
import http.server
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.parse
from pathlib import Path

docs = Path(__file__).resolve().parent.parent/'_docs'
widths = 1280, 390

harness = r'''<!doctype html><meta charset="utf-8"><title>check</title><style>body { margin: 0 } iframe { border: 0; display: block; height: 2000px }</style><script>
const asked = new URLSearchParams(location.search), pause = ms => new Promise(done => setTimeout(done, ms));
const text = e => (e.querySelector('annotation')?.textContent ?? e.textContent).replace(/\s+/g, ' ').trim().slice(0, 90);

async function open_page(page, width) { // an iframe, when its mathematics stands
  const frame = document.createElement('iframe');
  frame.style.width = width + 'px';
  const loaded = new Promise(done => frame.onload = done);
  frame.src = page;
  document.body.append(frame);
  await loaded;
  await frame.contentDocument.fonts.ready;
  for (let k = 0, last = -1; k < 50; k++) { // until no more mathematics is added
    const now = frame.contentDocument.querySelectorAll('.katex').length;
    if (now === last && k > 3) break;
    last = now;
    await pause(60);
  }
  return frame;
}

function over(a, b) { // whether two boxes overlap by more than a pixel each way
  return Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1;
}

function faults(frame, width) {
  const found = [], page = frame.contentDocument, all = what => [...page.querySelectorAll(what)];
  for (const e of all('.katex-error')) found.push('KaTeX cannot read: ' + text(e));
  for (const e of all('.katex-display')) {
    if (!e.getClientRects().length) continue; // folded away
    if (e.scrollWidth > e.clientWidth + 1) found.push(`equation ${e.scrollWidth - e.clientWidth} px wider than its box of ${e.clientWidth}: ` + text(e));
    for (const tag of e.querySelectorAll('.tag')) {
      const number = tag.querySelector('.text')?.getBoundingClientRect() ?? tag.getBoundingClientRect();
      if ([...e.querySelectorAll('.katex-html > .base')].some(b => over(b.getBoundingClientRect(), number)))
        found.push(`number ${text(tag)} over its equation: ` + text(e));
      if (number.right > e.getBoundingClientRect().right + 1) found.push(`number ${text(tag)} outside: ` + text(e));
    }
  }
  const root = page.documentElement;
  if (root.scrollWidth > width + 1) {
    const scrolls = e => { for (let p = e.parentElement; p && p !== page.body; p = p.parentElement) if (getComputedStyle(p).overflowX !== 'visible') return true; };
    const wide = all('body *').filter(e => e.getBoundingClientRect().right > width + 1 && !scrolls(e)).pop();
    found.push(`the page is ${root.scrollWidth - width} px wider than the window` + (wide ? `, by <${wide.tagName.toLowerCase()} class="${wide.className}">: ${text(wide)}` : ''));
  }
  return {faults: found, equations: all('.katex-display').length};
}

onload = async () => {
  const width = +asked.get('width');
  if (asked.get('show')) {
    const frame = await open_page(asked.get('show'), width);
    frame.style.height = frame.contentDocument.documentElement.scrollHeight + 'px';
    await fetch('/--height', {method: 'POST', body: JSON.stringify(frame.contentDocument.documentElement.scrollHeight)});
    return;
  }
  for (const page of asked.get('pages').split(',')) {
    const frame = await open_page(page, width);
    await fetch('/--found', {method: 'POST', body: JSON.stringify({page, width, ...faults(frame, width)})});
    frame.remove();
  }
  await fetch('/--found', {method: 'POST', body: 'null'});
};
</script>'''


class Handler(http.server.SimpleHTTPRequestHandler):
    "The site, the page that looks at it, and what that page finds."
    def do_GET(self):
        if not self.path.startswith('/--check'): return super().do_GET()
        self.send_response(200)
        self.send_header('Content-Type', 'text/html; charset=utf-8')
        self.end_headers()
        self.wfile.write(harness.encode())

    def do_POST(self):
        self.server.found.put(json.loads(self.rfile.read(int(self.headers['Content-Length']))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args): pass


def browser(
    address, # to open
    folder, # for the browser's own files
    *options, # words
): # process
    "Chromium without a window."
    program = next((p for n in ('chromium', 'chromium-browser', 'google-chrome') if (p := shutil.which(n))), None)
    if program is None: sys.exit('check_pages: needs chromium (on Debian: apt install chromium)')
    quiet = dict(stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    words = ['--headless', '--no-sandbox', '--disable-gpu', '--hide-scrollbars', '--no-first-run']
    command = [program, *words, f'--user-data-dir={folder}', *options, address]
    return subprocess.Popen(command, start_new_session=True, **quiet)


def stop(
    process, # of `browser`
): # None
    "End the browser and its children."
    try: os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError: pass
    process.wait()


def look(
    server, # that serves the site
    pages, # such as 'grid.html'
    width, # of the window, pixels
): # (list of lines, one a fault; number of equations)
    "What is wrong with the equations of some pages."
    wrong, equations, open_ = [], 0, set(pages)
    query = urllib.parse.urlencode(dict(pages=','.join(pages), width=width))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        process = browser(f'http://127.0.0.1:{server.server_port}/--check?{query}', folder, '--window-size=1400,2000')
        try:
            while found := server.found.get(timeout=60):
                open_.discard(found['page'])
                equations += found['equations']
                wrong += [f"{found['page']} at {width} px: {fault}" for fault in found['faults']]
        except queue.Empty: wrong.append('the browser fell silent, not looked at: ' + ', '.join(sorted(open_)))
        finally: stop(process)
    return wrong, equations


def picture(
    server, # that serves the site
    page, # such as 'grid.html'
    width, # of the window, pixels
    path, # PNG file
): # None
    "A picture of a whole page, first measured, then taken."
    address = f'http://127.0.0.1:{server.server_port}/--check?' + urllib.parse.urlencode(dict(show=page, width=width))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        process = browser(address, folder, '--window-size=1400,2000')
        try: height = min(server.found.get(timeout=60), 16000) # more than a browser can take at once
        finally: stop(process)
        size = f'--window-size={max(width, 500)},{height}' # chromium makes no window narrower than 500
        shot = browser(address, folder, size, f'--screenshot={path.absolute()}', '--virtual-time-budget=20000')
        try: shot.wait(60)
        finally: stop(shot)
        while not server.found.empty(): server.found.get()


def shown_twice(
    page, # HTML file
): # list of lines
    "Functions and classes of the package whose source, or signature, is shown more than once on a page."
    source = r'<summary>Exported source</summary>.*?<pre[^>]*>(.*?)</pre>'
    signature = r'<h\d[^>]*data-anchor-id.*?</h\d>\s*<div class="code-copy-outer-scaffold"><div[^>]*><pre[^>]*>(.*?)</pre>'
    blocks = re.findall(f'{source}|{signature}', page.read_text(), re.S)
    code = [html.unescape(re.sub(r'<[^>]+>', '', a or b)) for a, b in blocks]
    names = collections.Counter(name for c in code for name in re.findall(r'^(?:def|class) ([^_\W]\w*)', c, re.M))
    return [f'{page.name}: {name} is shown {count} times' for name, count in names.items() if count > 1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('pages', nargs='*', help="such as grid or grid.html; none: every page")
    parser.add_argument('--pictures', type=Path, help='folder for a picture of each page at each width')
    args = parser.parse_args()
    pages = sorted({Path(p).stem + '.html' for p in args.pages} or {p.name for p in docs.glob('*.html')})
    missing = [p for p in pages if not (docs/p).exists()]
    if missing or not pages: sys.exit(f"check_pages: {', '.join(missing) or 'no page'} in {docs.name}; make docs builds it")
    wrong = [line for p in pages for line in shown_twice(docs/p)]
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Handler, directory=docs))
    server.found = queue.Queue()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for width in widths:
        found, equations = look(server, pages, width)
        wrong += found
        print(f'{len(pages)} pages with {equations} displayed equations at {width} px: {len(found)} faults')
        for page in pages if args.pictures else ():
            args.pictures.mkdir(parents=True, exist_ok=True)
            picture(server, page, width, args.pictures/f'{Path(page).stem}-{width}.png')
    print('\n'.join(wrong))
    return bool(wrong)


if __name__ == '__main__': sys.exit(main())
