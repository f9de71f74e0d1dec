"""Build the site into _docs, without Quarto: nbdev processes the notebooks, smalldocs lays out the pages, and the rest is mended here.
Mathematics (KaTeX) and molecules (3Dmol.js) come from npm once and stand beside the pages: the site asks nothing of other hosts."""
import argparse
import ast
import inspect
import json
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from urllib.parse import unquote

import fastcore.docments
import smalldocs.layout
import smalldocs.site
from nbdev.config import get_config
from nbdev.doclinks import _build_modidx
from nbdev.quarto import refresh_quarto_yml
from nbdev.serve import proc_nbs

from refresh import split_source

root = Path(__file__).resolve().parent.parent
stage, docs = root/'_site_src', root/'_docs'
decades = {'0': 'Foundations', '02': 'Harmonics', '1': 'Layers', '19': 'Training', '2': 'Training', '3': 'Molecules', '4': 'Weather', '5': 'Paper', '6': 'Command line'}


def signature(
    symbol, # function or class
    **options, # of inspect.signature
): # inspect.Signature
    "A class of Flax NNX hides its arguments behind its metaclass, as (*args: 'Any', **kwargs: 'Any'), which nbdev cannot even read: take them from __init__."
    hidden = inspect.isclass(symbol) and type(symbol).__call__ is not type.__call__ and inspect.isfunction(symbol.__init__)
    if not hidden: return inspect.signature(symbol, **options)
    found = inspect.signature(symbol.__init__, **options)
    return found.replace(parameters=list(found.parameters.values())[1:], return_annotation=inspect.Signature.empty)


fastcore.docments.signature = signature # also in the processes that work through the notebooks


def fetch(
    package, # npm package
    version, # exact version
): # folder of the unpacked package
    "An npm package, fetched once into .venv/.npm and unpacked there."
    folder = root/'.venv/.npm'/f'{package}-{version}'
    if folder.exists(): return folder/'package'
    npm = shutil.which('npm')
    if npm is None: sys.exit(f'build_docs: the site needs {package} {version} from npm, and npm is not installed (it comes with Node.js)')
    folder.parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run([npm, 'pack', f'{package}@{version}', '--silent'], cwd=folder.parent, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode: sys.exit(f'build_docs: npm could not fetch {package} {version}:\n{done.stderr.strip()}')
    half = folder.with_suffix('.half')
    shutil.rmtree(half, ignore_errors=True)
    with tarfile.open(folder.parent/f'{package}-{version}.tgz') as archive: archive.extractall(half, filter='data')
    half.rename(folder)
    return folder/'package'


def section(
    stem, # '05_transform'
): # title of its part of the book
    "The part of the book that a number belongs to: 00 and 01 are the foundations, 02 to 09 the harmonics, then one for each decade."
    return decades['02'] if stem[0] == '0' and stem[1] > '1' else decades.get(stem[:2]) or decades.get(stem[0], 'More')


def write_sidebar():
    "The list of pages in _quarto.yml, in the order of the book; written only when it changes."
    lines, last = ['      - index.ipynb'], None
    for path in sorted((root/'nbs').glob('[0-9][0-9]*_*.ipynb')):
        if section(path.stem) != last: lines += [f'      - section: {section(path.stem)}', '        contents:']
        last = section(path.stem)
        lines.append(f'          - {path.name}')
    config = root/'_quarto.yml'
    old = config.read_text()
    new, found = re.subn(r'(?<=    contents:\n)(      .*\n)+(?=    # sidebar: end)', '\n'.join(lines) + '\n', old)
    if not found: sys.exit("build_docs: _quarto.yml has lost its line '    # sidebar: end' after the sidebar's contents")
    if new != old: config.write_text(new)


def rescue_prose(
    page, # processed notebook, rewritten when prose was lost
): # whether it was
    "Put back what nbdev drops: the prose below the title in the first cell of the notebook."
    first = json.loads((root/'nbs'/page.name).read_text())['cells'][0]
    prose = split_source(''.join(first['source']))[1] if first['cell_type'] == 'markdown' else ''
    if not prose: return False
    notebook = json.loads(page.read_text())
    notebook['cells'].insert(1, dict(cell_type='markdown', id='prose', metadata={}, source=prose))
    page.write_text(json.dumps(notebook))
    return True


def pieces(
    source, # of an exported cell
    documented, # names of functions and classes that have a heading of their own
): # {name: its part of the source}, in order
    "Cut a cell so that each documented function or class ends a part; what stands between goes with the next one."
    lines, parts, begin = source.splitlines(), {}, 0
    for node in ast.parse(source).body:
        if getattr(node, 'name', None) not in documented or node.end_lineno <= begin: continue
        parts[node.name] = lines[begin:node.end_lineno]
        begin = node.end_lineno
    if parts: parts[next(reversed(parts))] += lines[begin:]
    return {name: '\n'.join(part).strip() for name, part in parts.items()}


def shown_name(
    cell, # of a processed notebook
): # 'forward' where nbdev shows SpinTransform.forward there, None elsewhere
    "What a cell that nbdev has added documents."
    found = re.search(r'^show_doc\(([\w.]+)', ''.join(cell['source']), re.M)
    return found and cell.get('has_sd') and found[1].split('.')[-1]


def heading_only(
    cell, # of show_doc, changed in place
): # the cell
    "Keep the link and the heading: signature and explanation stand in the source below it."
    for output in cell['outputs']:
        text = ''.join(output.get('data', {}).get('text/markdown', ''))
        head = re.match(r'(?s).*?^#+ .*?$', text, re.M)
        if head: output['data']['text/markdown'] = head[0]
    return cell


def source_once(
    page, # processed notebook, rewritten
): # None
    "Show the source of each exported function once, below its heading: nbdev shows the signature twice, cells whole."
    notebook = json.loads(page.read_text())
    cells, old = [], notebook['cells']
    while old:
        cell = old.pop(0)
        source = ''.join(cell['source'])
        if '#| code-summary: "Exported source"' not in source:
            cells.append(cell)
            continue
        options = ''.join(re.findall(r'^#\|.*\n', source, re.M))
        own = re.findall(r'^(?:def|class|async def) (\w+)', source, re.M)
        around = [cells.pop()] if cells and shown_name(cells[-1]) in own else [] # the last one; the others follow
        while old and shown_name(old[0]) in own: around.append(old.pop(0))
        docs_of = {shown_name(c): c for c in around}
        parts = pieces(re.sub(r'^#\|.*\n', '', source, flags=re.M), docs_of)
        cells += [doc for name, doc in docs_of.items() if name not in parts]
        if not parts: cells.append(cell)
        for name, part in parts.items():
            cells += [heading_only(docs_of[name]), cell | dict(id=f"{cell['id']}-{name}", source=options + part)]
    notebook['cells'] = cells
    page.write_text(json.dumps(notebook))


def stage_site():
    "nbdev's processed notebooks in _site_src, each under the name of its page ('02_grid' becomes 'grid'), links within the site relative."
    cfg = get_config()
    refresh_quarto_yml()
    _build_modidx()
    shutil.rmtree(stage, ignore_errors=True)
    shutil.copytree(proc_nbs(force=True, n_workers=2), stage, ignore=shutil.ignore_patterns('_*.yml.bak', '.*'))
    rescued = [p.name for p in sorted(stage.glob('*.ipynb')) if rescue_prose(p)]
    if rescued: print(f"note: prose below the title in the first cell of {', '.join(rescued)}: kept here, but Quarto would lose it; tools/refresh.py --titles moves it")
    for page in stage.glob('*.ipynb'): source_once(page)
    pages = {p.name: re.sub(r'^\d+[a-z0-9]*_', '', p.name) for p in stage.glob('*.ipynb')}
    if len(set(pages.values())) < len(pages): sys.exit(f'build_docs: two notebooks would make the same page: {sorted(pages)}')
    for file in [*stage.glob('*.ipynb'), *stage.glob('*.yml')]:
        text = file.read_text().replace(f"{cfg['doc_host']}{cfg['doc_baseurl']}/", '') if file.suffix == '.ipynb' else file.read_text()
        for old, new in pages.items(): text = re.sub(rf'(?<![\w/]){re.escape(old)}', new, text)
        file.write_text(text)
        if file.name in pages: file.rename(stage/pages[file.name])


def mend():
    "Scripts, styles and fonts from beside the pages only."
    uses_molecules = False
    for page in docs.rglob('*.html'):
        text = page.read_text()
        up = '../'*(len(page.relative_to(docs).parts) - 1)
        # without defer: the loader of a molecule would otherwise keep KaTeX from starting
        text = re.sub(r'(<script src="[^"]*site_libs/katex/[^"]*") defer(="[^"]*")?', r'\1', text)
        text, count = re.subn(r'https?://[^\s"\'\\]+/3Dmol(-min)?\.js', f'{up}site_libs/3dmol/3Dmol-min.js', text)
        uses_molecules |= bool(count)
        page.write_text(text)
    for style in docs.rglob('*.css'):
        text = style.read_text()
        if 'http' in text: style.write_text(re.sub(r'@import\s+(url\()?["\']?https?:.*?["\']?\)?;(?=[^\d])', '', text))
    shutil.copytree(fetch('katex', '0.16.11')/'dist', docs/'site_libs/katex', ignore=shutil.ignore_patterns('*.mjs', '*.ttf', '*swap*', 'README*'))
    if uses_molecules:
        (docs/'site_libs/3dmol').mkdir()
        shutil.copy(fetch('3dmol', '2.5.5')/'build/3Dmol-min.js', docs/'site_libs/3dmol')


def outside(): # list of lines 'file: address'
    "What the pages would ask of other hosts; links that a reader may follow do not count."
    found = []
    for file in [*docs.rglob('*.html'), *docs.rglob('*.css')]:
        text = file.read_text()
        asks = [*re.findall(r'<(?:script|img|iframe|source|video|audio|embed)\b[^>]*?\bsrc="((?:https?:)?//[^"]+)', text),
                *re.findall(r'<link\b(?=[^>]*rel="(?:stylesheet|icon|preload|modulepreload|preconnect)")[^>]*?href="((?:https?:)?//[^"]+)', text),
                *re.findall(r'(?:url\(|@import)\s*["\']?((?:https?:)?//[^"\')\s]+)', text),
                *re.findall(r'["\'](https?://[^"\'\s]+\.(?:m?js|css|woff2?))["\']', text)]
        found += [f'{file.relative_to(docs)}: {a}' for a in asks]
    return found


def broken(): # list of lines 'page: link'
    "Links between pages that lead nowhere."
    found = []
    for page in docs.rglob('*.html'):
        for link in re.findall(r'<a\b[^>]*?href="([^"]+)', page.read_text()):
            file = re.sub(r'[#?].*', '', link)
            if file and not re.match(r'\w+:|//', file) and not (page.parent/unquote(file)).exists(): found.append(f'{page.relative_to(docs)}: {link}')
    return found


def main():
    argparse.ArgumentParser(description=__doc__).parse_args()
    write_sidebar()
    stage_site()
    (stage/'nbdev.yml').write_text((stage/'nbdev.yml').read_text().replace('output-dir: _docs', f'output-dir: {json.dumps(str(docs))}'))
    smalldocs.layout.KATEX = 'site_libs/katex'
    site = smalldocs.site.build(stage, quiet=True)
    mend()
    shutil.rmtree(stage)
    for warning in site.warnings: # those that are seen to here are no news
        if not re.search('output-file is not read|(html-math-method|grid) is ignored', warning): print(f'note: {warning}')
    wrong = [f'asks another host: {a}' for a in outside()] + [f'broken link: {b}' for b in broken()]
    if wrong: sys.exit('build_docs: ' + '\n'.join(wrong))
    print(f"{len(site.pages)} pages in {docs.relative_to(root)}; open {docs.relative_to(root)}/index.html")


if __name__ == '__main__': main()
