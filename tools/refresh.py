"""Run notebooks and save their outputs: the cells that nbdev_test runs, the rest keep the outputs they have.
Each notebook is exported first, runs in a process of its own, and is written and cleaned only when every cell ran."""
import argparse
import multiprocessing
import os
import re
import sys
import time
from pathlib import Path

root = Path(__file__).resolve().parent.parent


def find(
    names, # '02', '02_grid', 'nbs/02_grid.ipynb', or none for all
): # list of paths
    "Notebooks by number, name or path, in the order of the book."
    every = sorted((root/'nbs').glob('*.ipynb'), key=lambda p: (p.stem == 'index', p.name))
    found = {p for n in names for p in every if Path(n).stem in (p.stem, p.stem.split('_')[0])}
    missing = [n for n in names if not any(Path(n).stem in (p.stem, p.stem.split('_')[0]) for p in every)]
    if missing: sys.exit(f"refresh: no notebook in nbs/ is called {', '.join(missing)}")
    return [p for p in every if p in found or not names]


def is_run(
    cell, # a cell of the notebook
    skipped, # words of tst_flags whose cells are left alone
): # bool
    "Whether nbdev_test would run this cell."
    words = re.findall(r'^#\|\s*([\w-]+)(?::\s*(\w+))?', cell.source, re.M)
    return cell.cell_type == 'code' and bool(cell.source.strip()) and ('eval', 'false') not in words and not skipped & {w for w, _ in words}


def split_source(
    source, # of the first cell
): # (title and purpose, prose below them)
    "nbdev makes the title of the page of the first cell and drops the prose below it, which therefore needs a cell of its own."
    head = re.match(r'# .*\n*(?:> .*\n*)?(?:- \S+:.*\n*)*', source)
    end = head.end() if head else len(source)
    return source[:end].rstrip(), source[end:].rstrip()


def split_title(
    nb, # notebook, changed in place
): # whether it was changed
    "Move the prose below the title to a cell of its own."
    from execnb.nbio import mk_cell
    first = nb.cells[0]
    title, prose = split_source(first.source)
    if first.cell_type != 'markdown' or not prose: return False
    rest = mk_cell(prose, 'markdown')
    rest['id'] = f"{first.get('id', 'title')}-prose"
    first.source = title
    nb.cells.insert(1, rest)
    return True


def refresh(
    path, # notebook
    flags, # words of tst_flags to run as well
): # None; exits 1 at the first error
    "Export, run, save and clean one notebook."
    from execnb.nbio import read_nb, write_nb
    from execnb.shell import CaptureShell
    from nbdev.clean import clean_nb, process_write
    from nbdev.config import get_config
    from nbdev.export import nb_export
    os.chdir(root)
    os.environ['IN_TEST'] = '1'
    if path.stem != 'index': nb_export(path, get_config().lib_path)
    nb, start = read_nb(path), time.time()
    split_title(nb)
    skipped = set(get_config().tst_flags.split()) - set(flags.split())
    os.chdir(path.parent)
    sys.path.insert(0, str(root))
    shell = CaptureShell(path=path.parent, mpl_format='png')
    for number, cell in enumerate(nb.cells):
        if not is_run(cell, skipped): continue
        began = time.time()
        source = cell.source.rstrip() # after a final semicolon execnb would drop what the cell printed
        cell.outputs = shell.run(source + '\nNone' if source.endswith(';') else source, verbose=False) or []
        if time.time() - began > 10: print(f"  {path.stem}: {time.time() - began:.0f} s in the cell '{cell.source.splitlines()[0][:70]}'")
        if shell.exc:
            print(f'{path.name}: stopped, nothing saved, at the cell\n\n{cell.source}\n', file=sys.stderr)
            shell._cell_idx = number # execnb's own name for it, set only by its run_all
            print(shell.prettytb(fname=path), file=sys.stderr)
            sys.exit(1)
    write_nb(nb, path)
    process_write(warn_msg=f'{path.name} could not be cleaned', proc_nb=clean_nb, f_in=path)
    print(f'{path.name}: {time.time() - start:.1f} s')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('names', nargs='*', help="such as 02, 02_grid or nbs/02_grid.ipynb; none: every notebook")
    parser.add_argument('--flags', default='', help="cells to run as well: 'slow', 'gpu', 'data' or several")
    parser.add_argument('--titles', action='store_true', help='run nothing: only move prose out of the first cells')
    args = parser.parse_args()
    for path in find(args.names):
        if args.titles:
            from execnb.nbio import read_nb, write_nb
            nb = read_nb(path)
            if split_title(nb):
                write_nb(nb, path)
                print(f'{path.name}: the prose of the first cell moved to the second')
            continue
        process = multiprocessing.get_context('spawn').Process(target=refresh, args=(path, args.flags))
        process.start()
        process.join()
        if process.exitcode: sys.exit(f'refresh: {path.name} failed')


if __name__ == '__main__': main()
