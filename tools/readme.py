"Write README.md, and index_files/ for its pictures, from nbs/index.ipynb. With --check: only say whether they are up to date."
import argparse
import base64
import json
import re
import sys
from pathlib import Path

root = Path(__file__).resolve().parent.parent


def output_text(
    output, # an output of a code cell
    pictures, # dict of file name to bytes, added to
): # Markdown
    "One output as Markdown: a picture, or the text it printed."
    data = output.get('data', {})
    if 'image/png' in data:
        name = f'index_files/figure-{len(pictures) + 1}.png'
        pictures[name] = base64.b64decode(''.join(data['image/png']))
        return f'![]({name})'
    if 'text/markdown' in data: return ''.join(data['text/markdown']).strip()
    text = ''.join(output.get('text') or data.get('text/plain') or []).strip('\n')
    return f'```text\n{text}\n```' if text else ''


def convert(
    path, # notebook
): # (Markdown, {file name: bytes})
    "Markdown as it is, code fenced, outputs below it; '#| hide', 'echo: false' and 'output: false' as on the site."
    parts, pictures = [], {}
    for cell in json.loads(path.read_text(encoding='utf-8'))['cells']:
        source = ''.join(cell['source']).strip('\n')
        words = {f'{a}{b}' for a, b in re.findall(r'^#\|\s*(\w+)(:\s*\w+)?', source, re.M)}
        if words & {'hide', 'include: false', 'default_exp'}: continue
        if cell['cell_type'] == 'markdown': parts.append(source)
        if cell['cell_type'] != 'code': continue
        code = re.sub(r'^#\|.*\n?', '', source, flags=re.M).strip('\n')
        if code and 'echo: false' not in words: parts.append(f'```python\n{code}\n```')
        if 'output: false' not in words: parts += [t for o in cell['outputs'] if (t := output_text(o, pictures))]
    return '<!-- Written by tools/readme.py from nbs/index.ipynb: edit that. -->\n\n' + '\n\n'.join(parts) + '\n', pictures


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--check', action='store_true', help='write nothing; exit 1 when they are out of date')
    check = parser.parse_args().check
    text, files = convert(root/'nbs/index.ipynb')
    files['README.md'] = text.encode()
    stale = [n for n, content in files.items() if not (root/n).exists() or (root/n).read_bytes() != content]
    extra = [p for p in (root/'index_files').glob('*') if f'index_files/{p.name}' not in files]
    if check:
        if stale or extra: sys.exit(f"out of date: {', '.join(stale + [str(p.relative_to(root)) for p in extra])}; run tools/readme.py")
        return
    for p in extra: p.unlink()
    for name in stale:
        (root/name).parent.mkdir(exist_ok=True)
        (root/name).write_bytes(files[name])


if __name__ == '__main__': main()
