"""Check that imports go one way. A notebook imports only what lower-numbered notebooks export, what it exports keeps the
order of the sub-packages below, and every module of the package is exported by a notebook."""
import ast
import json
import re
import sys
from pathlib import Path

root = Path(__file__).resolve().parent.parent
package = 'spherical_cnn'
tools = {'testing', 'plotting', 'cache'}
may_import = { # sub-package or module: what its exported code may import of the package, besides itself
    'testing': set(), 'plotting': set(), 'cache': set(), 'harmonics': tools, 'nn': tools | {'harmonics'}, 'train': tools,
    'molecules': tools | {'harmonics', 'nn', 'train'}, 'weather': tools | {'harmonics', 'nn', 'train'},
    'experiments': tools | {'harmonics', 'nn', 'train', 'molecules', 'weather'},
    'cli': tools | {'harmonics', 'nn', 'train', 'molecules', 'weather', 'experiments'},
}


def cells(
    path, # notebook
): # [(source, is exported)]
    "Its code cells, without the lines that only IPython understands."
    for cell in json.loads(path.read_text(encoding='utf-8'))['cells']:
        if cell['cell_type'] != 'code': continue
        source = ''.join(cell['source'])
        if source.lstrip().startswith('%%'): continue
        yield re.sub(r'^(\s*)[%!].*$', r'\1pass', source, flags=re.M), bool(re.search(r'^#\|\s*exports?i?\b', source, re.M))


def imports(
    source, # Python
    modules, # the modules there are
): # the modules of this package that it imports, without the package's name
    "Imported modules; `from package.a import b` means a.b where that is a module."
    for node in ast.walk(ast.parse(source)):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else \
                [f'{node.module}.{a.name}' for a in node.names] if isinstance(node, ast.ImportFrom) and node.module else []
        for name in names:
            if not name.startswith(package + '.'): continue
            parts = name.split('.')[1:]
            known = [m for k in range(len(parts), 0, -1) if (m := '.'.join(parts[:k])) in modules]
            yield known[0] if known else '.'.join(parts)


def check(): # list of lines, one a fault
    "Every fault in the notebooks and the package."
    notebooks, wrong, modules = sorted((root/'nbs').glob('[0-9]*.ipynb')), [], {}
    for path in notebooks:
        found = re.search(r'^#\|\s*default_exp\s+(\S+)', '\n'.join(s for s, _ in cells(path)), re.M)
        if found and found[1] in modules: wrong.append(f'{path.name} and {modules[found[1]]} both export {found[1]}')
        if found: modules[found[1]] = path.name
    own = {name: module for module, name in modules.items()}
    for path in notebooks:
        for source, exported in cells(path):
            try: found = list(imports(source, modules))
            except SyntaxError as e:
                wrong.append(f'{path.name}: a cell is not Python: {e}')
                continue
            for module in found:
                top, mine = module.split('.')[0], own.get(path.name, '').split('.')[0]
                if module not in modules:
                    if module not in ('__version__', *may_import): wrong.append(f'{path.name} imports {module}, which no notebook exports')
                elif modules[module] >= path.name: wrong.append(f'{path.name} imports {module}, which {modules[module]} exports: not a lower number')
                if exported and top != mine and top not in may_import.get(mine, set()): wrong.append(f'{path.name} exports code of {mine} that imports {module}')
    for file in sorted((root/package).rglob('*.py')):
        module = '.'.join(file.relative_to(root/package).with_suffix('').parts)
        if file.name not in ('__init__.py', '_modidx.py') and module not in modules: wrong.append(f'{file.relative_to(root)} is exported by no notebook')
    return wrong


if __name__ == '__main__':
    faults = check()
    print('\n'.join(faults) if faults else 'imports go one way')
    sys.exit(bool(faults))
